// Package jpeg decodes the commonest kind of JPEG fast: baseline, eight bits,
// Huffman-coded, grey or YCbCr in one interleaved scan, which is what cameras and
// data sets have. Whatever else there is (progressive files, CMYK, several scans,
// damage) gives an error, and the caller takes image/jpeg then, which also decides
// what is wrong with a file.
//
// It is fast because it does only what a crop needs. Samples stay in the planes of
// their components, chroma at its own resolution; blocks outside of a window are
// read past without being transformed, and what lies below it is not read at all. A
// Decoder keeps its memory from picture to picture.
//
// header.go reads the segments up to the coded data, huffman.go the coefficients,
// idct.go makes samples of them. The format is ITU-T Recommendation T.81.
package jpeg

import (
	"bytes"
	"errors"
	"image"
)

// ErrUnsupported is the error for what image/jpeg has to decode.
var ErrUnsupported = errors.New("jpeg: not a baseline picture of the common kind")

// errDamaged is the error for coded data that end early or make no sense.
var errDamaged = errors.New("jpeg: the coded data are damaged")

// Decoder decodes one picture at a time: Header, then Decode for a window of it.
// The zero value is ready.
type Decoder struct {
	Width, Height int
	Planes        []Plane // Y or Y, Cb, Cr; filled by Decode
	LumaOnly      bool    // Decode is to leave Cb and Cr as they are

	hmax, vmax int // largest sampling factors: samples of Y in a unit of the scan
	components [3]component
	quant      [4][64]int32 // in zigzag order
	dc, ac     [4]huffman
	restart    int    // units between two restart markers, 0 for none
	scan       []byte // coded data, with the markers in them

	segment []byte // coded data up to a restart marker, without stuffing; padded
	end     int    // of segment, before the padding
	bits    bitReader
}

// Plane is the samples of one component around a window.
type Plane struct {
	Pix    []byte
	Stride int
	Rect   image.Rectangle // of the samples in Pix, in the component's own grid
	// Width and Height are those of the whole component; what Rect has beyond
	// them is padding.
	Width, Height int
	// Horizontal and Vertical say how many pixels of the picture a sample spans.
	Horizontal, Vertical int
}

type component struct {
	id     byte
	h, v   int
	quant  *[64]int32
	dc, ac *huffman
	pred   int32 // DC of the block before
}

// padding behind a segment: a block's codes reach at most 64·27 bits beyond the
// place where its end is checked, and the reader loads eight bytes at once.
const padding = 64*27/8 + 16

// Decode fills Planes with the samples that window, in pixels, needs. The window
// has to lie inside the picture.
func (d *Decoder) Decode(window image.Rectangle) error {
	if window.Empty() || !window.In(image.Rect(0, 0, d.Width, d.Height)) {
		return errors.New("jpeg: the window is not inside the picture")
	}
	uw, uh := 8*d.hmax, 8*d.vmax // pixels of a unit
	units := image.Rect(window.Min.X/uw, window.Min.Y/uh, (window.Max.X+uw-1)/uw, (window.Max.Y+uh-1)/uh)
	for i := range d.Planes {
		c, p := &d.components[i], &d.Planes[i]
		p.Rect = image.Rect(units.Min.X*8*c.h, units.Min.Y*8*c.v, units.Max.X*8*c.h, units.Max.Y*8*c.v)
		p.Stride = p.Rect.Dx()
		if i > 0 && d.LumaOnly {
			continue
		}
		if n := p.Stride * p.Rect.Dy(); cap(p.Pix) < n {
			p.Pix = make([]byte, n)
		} else {
			p.Pix = p.Pix[:n]
		}
	}
	perRow := (d.Width + uw - 1) / uw
	rest, left := d.scan, 0 // coded data after the segment; units left in the segment
	for y := range units.Max.Y {
		for x := 0; x < perRow; {
			if left == 0 {
				var err error
				if rest, err = d.next(rest); err != nil {
					return err
				}
				left = d.restart
				if left == 0 {
					left = perRow * units.Max.Y
				}
			}
			n := min(left, perRow-x)
			if err := d.row(units, x, x+n, y); err != nil {
				return err
			}
			if 8*d.bits.pos-int(d.bits.n) > 8*d.end {
				return errDamaged
			}
			x += n
			left -= n
		}
	}
	return nil
}

// row decodes the units from x0 to before x1 in row y of the scan.
func (d *Decoder) row(units image.Rectangle, x0, x1, y int) error {
	if y < units.Min.Y {
		return d.pass(x1 - x0)
	}
	from, to := min(max(x0, units.Min.X), x1), max(min(x1, units.Max.X), x0)
	if err := d.pass(from - x0); err != nil {
		return err
	}
	var block coefficients
	for x := from; x < to; x++ {
		for i := range d.Planes {
			c, p := &d.components[i], &d.Planes[i]
			if i > 0 && d.LumaOnly {
				if err := d.passBlocks(c); err != nil {
					return err
				}
				continue
			}
			for v := range c.v {
				for h := range c.h {
					if d.bits.pos > d.end+8 {
						return errDamaged
					}
					last, err := d.bits.block(d.segment, c, &block)
					if err != nil {
						return err
					}
					at := ((y-units.Min.Y)*c.v+v)*8*p.Stride + ((x-units.Min.X)*c.h+h)*8
					block.transform(last, p.Pix[at:], p.Stride)
				}
			}
		}
	}
	return d.pass(x1 - max(to, from))
}

// pass reads past n units.
func (d *Decoder) pass(n int) error {
	for range n {
		for i := range d.Planes {
			if err := d.passBlocks(&d.components[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// passBlocks reads past a component's part of a unit.
func (d *Decoder) passBlocks(c *component) error {
	for range c.h * c.v {
		if d.bits.pos > d.end+8 {
			return errDamaged
		}
		if err := d.bits.skip(d.segment, c); err != nil {
			return err
		}
	}
	return nil
}

// next makes the coded data up to the next restart marker the segment to read from,
// and returns those behind it.
func (d *Decoder) next(rest []byte) ([]byte, error) {
	if len(rest) == 0 {
		return nil, errDamaged
	}
	out := d.segment[:0]
	for {
		i := bytes.IndexByte(rest, 0xff)
		if i < 0 || i+1 == len(rest) {
			return nil, errDamaged // not even an end marker
		}
		out = append(out, rest[:i]...)
		marker := rest[i+1]
		switch {
		case marker == 0: // a byte of data
			out = append(out, 0xff)
			rest = rest[i+2:]
			continue
		case marker == 0xff: // fill byte
			rest = rest[i+1:]
			continue
		case marker >= markerRST0 && marker <= markerRST7:
			rest = rest[i+2:]
		case marker == markerEOI:
			rest = nil
		default:
			return nil, ErrUnsupported
		}
		break
	}
	d.end = len(out)
	d.segment = append(out, make([]byte, padding)...)
	d.bits = bitReader{}
	for i := range d.components {
		d.components[i].pred = 0
	}
	return rest, nil
}
