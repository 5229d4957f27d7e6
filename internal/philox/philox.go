// Package philox is the counter-based random number generator Philox4x32-10 of
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011).
//
// It has no state: 128 bits of counter under 64 bits of key give 128 random
// bits, so any element of any step of any call site can be computed alone, in
// any order, by any worker, and again in the backward pass. What the counter and
// the key mean is fixed here, once, for all backends:
//
//	key     = splitmix64(seed ^ splitmix64(site)), low word first
//	counter = (element/4 low, element/4 high, step low, step high)
//	result  = word element%4 of the block
package philox

const (
	mul0  = 0xd2511f53
	mul1  = 0xcd9e8d57
	weyl0 = 0x9e3779b9
	weyl1 = 0xbb67ae85
	// Rounds is the number of rounds that the authors recommend; 7 already pass
	// their tests.
	Rounds = 10
)

// Key is the key of a call site.
type Key [2]uint32

// NewKey mixes the user's seed and the number of the call site, so that
// neighbouring seeds or sites share nothing.
func NewKey(seed, site uint64) Key {
	k := splitmix(seed ^ splitmix(site))
	return Key{uint32(k), uint32(k >> 32)}
}

// splitmix is the output function of SplitMix64, a bijection of 64-bit words.
func splitmix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Block is the generator itself: counter and key to four random words.
func Block(c0, c1, c2, c3 uint32, k Key) (r0, r1, r2, r3 uint32) {
	k0, k1 := k[0], k[1]
	for range Rounds {
		p0, p1 := uint64(c0)*mul0, uint64(c2)*mul1
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += weyl0
		k1 += weyl1
	}
	return c0, c1, c2, c3
}

// Word is the random word of one element at one step.
func Word(element, step uint64, k Key) uint32 {
	b := element / 4
	r0, r1, r2, r3 := Block(uint32(b), uint32(b>>32), uint32(step), uint32(step>>32), k)
	return [4]uint32{r0, r1, r2, r3}[element%4]
}

// Words fills dst with the words of the elements first, first+1, … of one step.
func Words(dst []uint32, first, step uint64, k Key) {
	i := 0
	for ; i < len(dst) && (first+uint64(i))%4 != 0; i++ {
		dst[i] = Word(first+uint64(i), step, k)
	}
	s0, s1 := uint32(step), uint32(step>>32)
	for ; i+4 <= len(dst); i += 4 {
		b := (first + uint64(i)) / 4
		d := dst[i : i+4 : i+4]
		d[0], d[1], d[2], d[3] = Block(uint32(b), uint32(b>>32), s0, s1, k)
	}
	for ; i < len(dst); i++ {
		dst[i] = Word(first+uint64(i), step, k)
	}
}
