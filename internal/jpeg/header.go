package jpeg

import (
	"bytes"
	"encoding/binary"
)

const (
	markerSOF0 = 0xc0 // baseline
	markerSOF1 = 0xc1 // extended, the same at eight bits
	markerDHT  = 0xc4
	markerRST0 = 0xd0
	markerRST7 = 0xd7
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerDQT  = 0xdb
	markerDRI  = 0xdd
	markerAPPE = 0xee // Adobe's
)

// Header reads what comes before the coded data. The bytes must stay as they are
// until Decode is done.
func (d *Decoder) Header(raw []byte) error {
	if len(raw) < 4 || raw[0] != 0xff || raw[1] != markerSOI {
		return ErrUnsupported
	}
	// A file that was cut has no end marker, and a window that ends above the cut
	// would hide that. A few bytes after the marker are common.
	if tail := raw[max(0, len(raw)-64):]; !bytes.Contains(tail, []byte{0xff, markerEOI}) {
		return ErrUnsupported
	}
	d.Width, d.Height, d.restart, d.scan = 0, 0, 0, nil
	var have uint8 // of the quantisation tables
	for i := range d.dc {
		d.dc[i].given, d.ac[i].given = false, false
	}
	for at := 2; ; {
		if at+4 > len(raw) || raw[at] != 0xff {
			return ErrUnsupported
		}
		marker := raw[at+1]
		if marker == 0xff {
			at++
			continue
		}
		n := int(binary.BigEndian.Uint16(raw[at+2:]))
		if n < 2 || at+2+n > len(raw) {
			return ErrUnsupported
		}
		body := raw[at+4 : at+2+n]
		at += 2 + n
		switch {
		case marker == markerSOF0 || marker == markerSOF1:
			if err := d.frame(body); err != nil {
				return err
			}
		case marker == markerDQT:
			for len(body) > 0 {
				if len(body) < 65 || body[0] > 3 { // above 3: 16 bits
					return ErrUnsupported
				}
				q := &d.quant[body[0]]
				for i, v := range body[1:65] {
					q[i] = int32(v)
				}
				have |= 1 << body[0]
				body = body[65:]
			}
		case marker == markerDHT:
			for len(body) > 0 {
				if len(body) < 17 || body[0]&0xef > 3 {
					return ErrUnsupported
				}
				codes := 17
				for _, n := range body[1:17] {
					codes += int(n)
				}
				if codes > len(body) {
					return ErrUnsupported
				}
				table, ac := &d.dc[body[0]&3], body[0]>>4 == 1
				if ac {
					table = &d.ac[body[0]&3]
				}
				if !table.set(body[1:codes], ac) {
					return ErrUnsupported
				}
				body = body[codes:]
			}
		case marker == markerDRI:
			if len(body) != 2 {
				return ErrUnsupported
			}
			d.restart = int(binary.BigEndian.Uint16(body))
		case marker == markerAPPE:
			if len(body) >= 12 && string(body[:5]) == "Adobe" && body[11] != 1 { // not YCbCr
				return ErrUnsupported
			}
		case marker == markerSOS:
			d.scan = raw[at:]
			return d.scanHeader(body, have)
		case marker >= 0xe0 && marker <= 0xef || marker == 0xfe: // applications' data, comments
		default:
			return ErrUnsupported
		}
	}
}

// frame reads the size of the picture and of its components.
func (d *Decoder) frame(body []byte) error {
	if d.Width != 0 || len(body) < 6 || body[0] != 8 || len(body) != 6+3*int(body[5]) {
		return ErrUnsupported
	}
	d.Height, d.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	n := int(body[5])
	if d.Width == 0 || d.Height == 0 || n != 1 && n != 3 {
		return ErrUnsupported
	}
	if cap(d.Planes) < 3 {
		d.Planes = make([]Plane, 3)
	}
	d.Planes = d.Planes[:n]
	d.hmax, d.vmax = 1, 1
	for i := range n {
		spec := body[6+3*i:]
		c := &d.components[i]
		*c = component{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15)}
		if spec[2] > 3 {
			return ErrUnsupported
		}
		c.quant = &d.quant[spec[2]]
		if n == 1 { // blocks of a lone component come one by one, whatever its factors
			c.h, c.v = 1, 1
		}
		if i == 0 && (c.h > 2 || c.v > 2 || c.h < 1 || c.v < 1) || i > 0 && (c.h != 1 || c.v != 1) {
			return ErrUnsupported
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
	}
	if n == 3 && d.components[0].id == 'R' && d.components[1].id == 'G' {
		return ErrUnsupported
	}
	for i := range d.Planes {
		c, p := &d.components[i], &d.Planes[i]
		p.Horizontal, p.Vertical = d.hmax/c.h, d.vmax/c.v
		p.Width, p.Height = (d.Width+p.Horizontal-1)/p.Horizontal, (d.Height+p.Vertical-1)/p.Vertical
	}
	return nil
}

// scanHeader reads which tables the components use.
func (d *Decoder) scanHeader(body []byte, have uint8) error {
	n := len(d.Planes)
	if d.Width == 0 || len(body) != 4+2*n || int(body[0]) != n {
		return ErrUnsupported
	}
	if spectral := body[1+2*n:]; spectral[0] != 0 || spectral[1] != 63 || spectral[2] != 0 {
		return ErrUnsupported
	}
	for i := range n {
		c := &d.components[i]
		tables := body[2+2*i]
		if body[1+2*i] != c.id || tables>>4 > 3 || tables&15 > 3 {
			return ErrUnsupported
		}
		c.dc, c.ac = &d.dc[tables>>4], &d.ac[tables&15]
		if !c.dc.given || !c.ac.given {
			return ErrUnsupported
		}
		for q := range d.quant {
			if c.quant == &d.quant[q] && have>>q&1 == 0 {
				return ErrUnsupported
			}
		}
	}
	return nil
}
