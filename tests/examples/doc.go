// Package examples runs the programs of the folder examples as a user would.
package examples
