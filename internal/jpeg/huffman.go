package jpeg

import (
	"bytes"
	"encoding/binary"
)

// fastBits is how many bits the tables look at. Nearly all codes are shorter, most
// together with the bits of the number that follows.
const fastBits = 11

// huffman is the table of a code. An entry of fast, indexed by the next bits, is a
// whole symbol:
//
//	bits 0–7    bits that code and number take, 0 if the table does not reach
//	bits 8–15   zero coefficients before the number; endOfBlock leads past any block
//	bits 16–31  the number, signed
//
// A run of sixteen zeros is fifteen zeros and the number 0.
type huffman struct {
	given bool
	spec  []byte // what it was made of: the next picture mostly has the same
	ac    bool

	fast [1 << fastBits]uint32
	// past says for skipping how far the symbols that fit into the bits lead
	// together: bits 0–7 the bits that they take, 8–14 the coefficients; bit 15
	// that the last of them is the end of the block.
	past [1 << fastBits]uint16
	// code is the symbol alone, without its number: bits 0–7 the code's length,
	// 8–15 the symbol.
	code   [1 << fastBits]uint16
	limit  [17]int32 // first code of 16 bits, left-aligned, that is longer than l bits
	offset [17]int32 // from a code of l bits to its place in values
	values [256]byte
}

const endOfBlock = 64

// set makes the table from the body of its segment: how many codes there are of
// each length, then their symbols. It tells whether that is a code.
func (t *huffman) set(spec []byte, ac bool) bool {
	t.given = true
	if t.ac == ac && bytes.Equal(t.spec, spec) {
		return true
	}
	t.spec = t.spec[:0] // nothing, should it be refused
	t.ac = ac
	values := spec[16:]
	if len(values) > 256 || len(values) == 0 {
		return false
	}
	t.values = [256]byte{}
	copy(t.values[:], values)
	clear(t.code[:])
	code, k := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		n := int32(spec[l-1])
		t.offset[l] = k - code
		if code+n > 1<<l {
			return false
		}
		if l <= fastBits {
			for i := range n {
				first := (code + i) << (fastBits - l)
				for j := range int32(1) << (fastBits - l) {
					t.code[first+j] = uint16(t.values[k+i])<<8 | uint16(l)
				}
			}
		}
		code += n
		k += n
		t.limit[l] = code << (16 - l)
		code <<= 1
	}
	for _, v := range values {
		// Eight-bit samples have DC differences of at most 11 bits and AC numbers
		// of at most 10.
		if ac && v&15 > 10 || !ac && v > 11 {
			return false
		}
	}
	for i := range t.fast {
		t.fast[i] = t.whole(uint32(i))
	}
	for i := range t.past {
		var used, coefficients uint32
		for ac {
			e := t.fast[uint32(i)<<used&(1<<fastBits-1)]
			if n := e & 0xff; n == 0 || used+n > fastBits {
				break
			}
			used += e & 0xff
			if run := e >> 8 & 0xff; run < endOfBlock {
				coefficients += run + 1
				continue
			}
			coefficients |= 1 << 7
			break
		}
		t.past[i] = uint16(coefficients<<8 | used)
	}
	t.spec = append(t.spec[:0], spec...)
	return true
}

// whole is the entry of fast for the given bits.
func (t *huffman) whole(bits uint32) uint32 {
	length, symbol := uint32(t.code[bits]&0xff), uint32(t.code[bits]>>8)
	if length == 0 {
		return 0
	}
	run, size := symbol>>4, symbol&15
	if !t.ac {
		run, size = 0, symbol
	}
	if length+size > fastBits {
		return 0
	}
	if t.ac && size == 0 && run != 15 {
		run = endOfBlock
	}
	number := extend(bits>>(fastBits-length-size)&(1<<size-1), size)
	return uint32(number)<<16 | run<<8 | (length + size)
}

// extend is the number that the given bits of that size stand for.
func extend(bits, size uint32) int32 {
	if size > 0 && bits>>(size-1) == 0 {
		return int32(bits) - (1<<size - 1)
	}
	return int32(bits)
}

// bitReader reads a segment from its beginning. The n next bits are the highest of
// acc; those below may be more of them.
type bitReader struct {
	acc uint64
	n   uint
	pos int
}

// fill makes sure that there are 56 bits at least.
func fill(segment []byte, acc uint64, n uint, pos int) (uint64, uint, int) {
	acc |= binary.BigEndian.Uint64(segment[pos:]) >> (n & 63)
	return acc, n | 56, pos + int((63-n)>>3)
}

// slow decodes a symbol and its number where the table does not reach.
func (t *huffman) slow(acc uint64) (e uint32, ok bool) {
	bits := int32(acc >> 48)
	symbol, length := uint32(0), uint32(t.code[acc>>(64-fastBits)]&0xff)
	if length > 0 {
		symbol = uint32(t.code[acc>>(64-fastBits)] >> 8)
	} else {
		for length = fastBits + 1; ; length++ {
			if length > 16 {
				return 0, false
			}
			if bits < t.limit[length] {
				break
			}
		}
		symbol = uint32(t.values[(bits>>(16-length)+t.offset[length])&0xff])
	}
	run, size := symbol>>4, symbol&15
	if !t.ac {
		run, size = 0, symbol
	} else if size == 0 && run != 15 {
		run = endOfBlock
	}
	number := extend(uint32(acc<<length>>32)>>(32-size), size)
	return uint32(number)<<16 | run<<8 | (length + size), true
}

// block decodes the coefficients of a block, multiplied by their quantisation, into
// b, which is zero before. It returns the place of the last one in zigzag order.
func (r *bitReader) block(segment []byte, c *component, b *coefficients) (last int, err error) {
	acc, n, pos := r.acc, r.n, r.pos
	acc, n, pos = fill(segment, acc, n, pos)
	e := c.dc.fast[acc>>(64-fastBits)]
	if e == 0 {
		var ok bool
		if e, ok = c.dc.slow(acc); !ok {
			return 0, errDamaged
		}
	}
	acc <<= e & 63
	n -= uint(e & 0xff)
	c.pred += int32(e) >> 16
	b[0] = int64(c.pred * c.quant[0])
	table, quant := c.ac, c.quant
	for k := uint32(1); ; {
		if n < 32 {
			acc, n, pos = fill(segment, acc, n, pos)
		}
		e := table.fast[acc>>(64-fastBits)]
		if e == 0 {
			var ok bool
			if e, ok = table.slow(acc); !ok {
				return 0, errDamaged
			}
		}
		acc <<= e & 63
		n -= uint(e & 0xff)
		k += e >> 8 & 0xff
		if k > 63 {
			break
		}
		place := places[k]
		b[place.word&31] += int64(int32(e)>>16*quant[k]) << (place.lane & 63)
		last = int(k)
		if k == 63 {
			break
		}
		k++
	}
	r.acc, r.n, r.pos = acc, n, pos
	return last, nil
}

// skip reads past a block, but for the DC that the next one needs.
func (r *bitReader) skip(segment []byte, c *component) error {
	acc, n, pos := r.acc, r.n, r.pos
	acc, n, pos = fill(segment, acc, n, pos)
	e := c.dc.fast[acc>>(64-fastBits)]
	if e == 0 {
		var ok bool
		if e, ok = c.dc.slow(acc); !ok {
			return errDamaged
		}
	}
	acc <<= e & 63
	n -= uint(e & 0xff)
	c.pred += int32(e) >> 16
	table := c.ac
	for k := uint32(1); k < 64; {
		if n < 32 {
			acc, n, pos = fill(segment, acc, n, pos)
		}
		// A block that ends with its 64th coefficient has no end of block, and the
		// table may have gone on into the next one: then it goes symbol by symbol.
		p := table.past[acc>>(64-fastBits)]
		if next := k + uint32(p>>8&0x7f); p != 0 && next <= 64-uint32(p>>15) {
			acc <<= p & 63
			n -= uint(p & 0xff)
			k = next + uint32(p>>15)*endOfBlock
			continue
		}
		e := table.fast[acc>>(64-fastBits)]
		if e == 0 {
			var ok bool
			if e, ok = table.slow(acc); !ok {
				return errDamaged
			}
		}
		acc <<= e & 63
		n -= uint(e & 0xff)
		k += e>>8&0xff + 1
	}
	r.acc, r.n, r.pos = acc, n, pos
	return nil
}
