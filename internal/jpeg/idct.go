package jpeg

// coefficients is a block of 8×8 coefficients, two to a word: word 4r+c has row r,
// columns 2c and 2c+1, the first in its low half. A word is the sum low + high·2³²,
// so a negative low half borrows from the high one. Sums of words, and products with
// constants, are then those of both halves at once, as long as each fits into 32 bits.
// The inverse transform is made of nothing else but for its roundings, so two
// columns, or two rows, go through it together.
type coefficients [32]int64

// places tells where the coefficient k of the zigzag order is.
var places = func() (p [64]struct{ word, lane uint8 }) {
	r, c := 0, 0
	for k := range p {
		p[k].word, p[k].lane = uint8(4*r+c/2), uint8(32*(c%2))
		switch up := (r+c)%2 == 0; {
		case up && c == 7:
			r++
		case up && r == 0:
			c++
		case up:
			r, c = r-1, c+1
		case r == 7:
			c++
		case c == 0:
			r++
		default:
			r, c = r+1, c-1
		}
	}
	return p
}()

// The constants of Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT
// algorithms with 11 multiplications" (ICASSP 1989), in 13 bits, and the roundings
// between the passes of the Independent JPEG Group's accurate integer transform,
// whose samples these are, bit for bit.
const (
	f0298 = 2446
	f0390 = 3196
	f0541 = 4433
	f0765 = 6270
	f0899 = 7373
	f1175 = 9633
	f1501 = 12299
	f1847 = 15137
	f1961 = 16069
	f2053 = 16819
	f2562 = 20995
	f3072 = 25172

	both = 1 + 1<<32 // a constant in both halves

	pass1 = 13 - 2     // bits dropped after the columns; two more than 13 are kept
	pass2 = 13 + 2 + 3 // bits dropped after the rows
)

// Halves are made positive before they are taken apart.
const (
	bias1 = (1<<30 + 1<<(pass1-1)) * both
	left1 = (1 << (30 - pass1)) * both // what is left of the bias after the shift
	// The samples are centred on 128; 384 more keep what is to be cut off positive.
	bias2 = (512<<pass2 + 1<<(pass2-1)) * both
)

// cut is the sample, cut to a byte, of what pass 2 leaves: a number 384 too large
// in ten bits.
var cut = func() (t [1024]byte) {
	for i := range t {
		t[i] = byte(min(max(i-384, 0), 255))
	}
	return t
}()

// transform writes the block's samples to dst and makes the block zero. Coefficients
// after last, in zigzag order, are zero.
func (b *coefficients) transform(last int, dst []byte, stride int) {
	if last == 0 {
		v := cut[(b[0]<<2<<13+bias2&(1<<32-1))>>pass2&1023]
		b[0] = 0
		word := uint64(v) * 0x0101010101010101
		for range 7 {
			putUint64(dst, word)
			dst = dst[stride:]
		}
		putUint64(dst, word)
		return
	}
	// Columns, two at a time; then row pairs have their halves exchanged, so that
	// word 8p+c of rows has column c of rows 2p and 2p+1.
	var rows [32]int64
	for c := range 4 {
		x1, x2, x3, x4, x5, x6, x7 := b[4+c], b[8+c], b[12+c], b[16+c], b[20+c], b[24+c], b[28+c]
		if x1|x2|x3|x4|x5|x6|x7 == 0 {
			x := uint64(b[c]<<2 + left1)
			lo, hi := x&(1<<32-1), x>>32
			lo, hi = lo*both-left1, hi*both-left1
			for p := range 4 {
				rows[8*p+2*c], rows[8*p+2*c+1] = int64(lo), int64(hi)
			}
			continue
		}
		y0, y1, y2, y3, y4, y5, y6, y7 := inverse(b[c], x1, x2, x3, x4, x5, x6, x7, bias1)
		exchange((*[2]int64)(rows[0+2*c:]), y0, y1)
		exchange((*[2]int64)(rows[8+2*c:]), y2, y3)
		exchange((*[2]int64)(rows[16+2*c:]), y4, y5)
		exchange((*[2]int64)(rows[24+2*c:]), y6, y7)
	}
	*b = coefficients{}
	for p := range 4 {
		x := (*[8]int64)(rows[8*p:])
		y0, y1, y2, y3, y4, y5, y6, y7 := inverse(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], bias2)
		d := (*[8]byte)(dst)
		d[0], d[1], d[2], d[3] = low(y0), low(y1), low(y2), low(y3)
		d[4], d[5], d[6], d[7] = low(y4), low(y5), low(y6), low(y7)
		d = (*[8]byte)(dst[stride:])
		d[0], d[1], d[2], d[3] = high(y0), high(y1), high(y2), high(y3)
		d[4], d[5], d[6], d[7] = high(y4), high(y5), high(y6), high(y7)
		if p < 3 {
			dst = dst[2*stride:]
		}
	}
}

func low(y int64) byte  { return cut[y>>pass2&1023] }
func high(y int64) byte { return cut[y>>(pass2+32)&1023] }

// exchange makes words of columns, of rows r and r+1, words of rows.
func exchange(to *[2]int64, r0, r1 int64) {
	const half = 1<<(32-pass1) - 1
	a, b := uint64(r0)>>pass1, uint64(r1)>>pass1
	to[0] = int64(a&half|b&half<<32) - left1
	to[1] = int64(a>>32|b>>32<<32) - left1
}

func putUint64(dst []byte, v uint64) {
	_ = dst[7]
	dst[0], dst[1], dst[2], dst[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	dst[4], dst[5], dst[6], dst[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}

// inverse is the inverse transform in one direction, 2¹³ times as large, plus a bias.
func inverse(x0, x1, x2, x3, x4, x5, x6, x7, bias int64) (y0, y1, y2, y3, y4, y5, y6, y7 int64) {
	z := (x2 + x6) * f0541
	t2 := z - x6*f1847
	t3 := z + x2*f0765
	t0 := (x0+x4)<<13 + bias
	t1 := (x0-x4)<<13 + bias
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	z3, z4 := x7+x3, x5+x1
	z5 := (z3 + z4) * f1175
	z1 := (x7 + x1) * f0899
	z2 := (x5 + x3) * f2562
	z3 = z5 - z3*f1961
	z4 = z5 - z4*f0390
	o0 := x7*f0298 - z1 + z3
	o1 := x5*f2053 - z2 + z4
	o2 := x3*f3072 - z2 + z3
	o3 := x1*f1501 - z1 + z4
	return e0 + o3, e1 + o2, e2 + o1, e3 + o0, e3 - o0, e2 - o1, e1 - o2, e0 - o3
}
