package picture

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// canvas is what a picture is drawn on. Measures are pixels, from the upper left corner.
type canvas interface {
	rect(x, y, w, h float64, c color.RGBA)
	text(x, y, size float64, c color.RGBA, s string) // y is that of the base line
	// group begins a thing that has a title, and end ends it.
	group(title string)
	end()
}

// svg is a canvas that writes SVG.
type svg struct{ out bytes.Buffer }

func newSVG(width, height int, title string) *svg {
	s := new(svg)
	fmt.Fprintf(&s.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&s.out, "<title>%s</title>\n", escape(title))
	return s
}

func (s *svg) rect(x, y, w, h float64, c color.RGBA) {
	fmt.Fprintf(&s.out, `<rect x="%g" y="%g" width="%g" height="%g" fill="#%02x%02x%02x"/>`+"\n", x, y, w, h, c.R, c.G, c.B)
}

func (s *svg) text(x, y, size float64, c color.RGBA, text string) {
	fmt.Fprintf(&s.out, `<text x="%g" y="%g" font-size="%g" fill="#%02x%02x%02x">%s</text>`+"\n", x, y, size, c.R, c.G, c.B, escape(text))
}

func (s *svg) group(title string) { fmt.Fprintf(&s.out, "<g><title>%s</title>", escape(title)) }

func (s *svg) end() { s.out.WriteString("</g>\n") }

func (s *svg) writeTo(w io.Writer) error {
	s.out.WriteString("</svg>\n")
	_, err := w.Write(s.out.Bytes())
	return err
}

// escape makes any string, such as the name of a hostile peer's program, text of XML.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer does not fail
	return b.String()
}

// bitmap is a canvas of pixels.
type bitmap struct {
	image *image.RGBA
	fonts map[float64]font.Face
}

func newBitmap(width, height int) *bitmap {
	return &bitmap{image: image.NewRGBA(image.Rect(0, 0, width, height)), fonts: make(map[float64]font.Face)}
}

func (b *bitmap) rect(x, y, w, h float64, c color.RGBA) {
	r := image.Rect(int(x+0.5), int(y+0.5), int(x+w+0.5), int(y+h+0.5))
	draw.Draw(b.image, r, image.NewUniform(c), image.Point{}, draw.Src)
}

func (b *bitmap) text(x, y, size float64, c color.RGBA, s string) {
	d := font.Drawer{Dst: b.image, Src: image.NewUniform(c), Face: b.face(size), Dot: fixed.P(int(x), int(y))}
	d.DrawString(s)
}

// face returns Go's own font in a size. It comes with the module, so that it can be parsed is not in doubt.
func (b *bitmap) face(size float64) font.Face {
	if b.fonts[size] == nil {
		f, err := opentype.Parse(goregular.TTF)
		if err == nil {
			b.fonts[size], err = opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
		}
		if err != nil {
			panic(err)
		}
	}
	return b.fonts[size]
}

func (b *bitmap) group(string) {}

func (b *bitmap) end() {}

func (b *bitmap) writeTo(w io.Writer) error { return png.Encode(w, b.image) }
