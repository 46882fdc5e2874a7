// Package picture draws a heap, granule by granule: as SVG with the facts of each granule in its title, and as PNG.
package picture
