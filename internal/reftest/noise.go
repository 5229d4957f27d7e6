package reftest

// Bits are n integers of the stream seed: the finaliser of MurmurHash3 on
// seed·0x9E3779B9 + i.
func Bits(seed uint32, n int) []uint32 {
	l := make([]uint32, n)
	for i := range l {
		x := seed*0x9E3779B9 + uint32(i)
		x ^= x >> 16
		x *= 0x85EBCA6B
		x ^= x >> 13
		x *= 0xC2B2AE35
		x ^= x >> 16
		l[i] = x
	}
	return l
}

// Noise are n numbers in [−1, 1), exact in float32.
func Noise(seed uint32, n int) []float32 {
	l := make([]float32, n)
	for i, b := range Bits(seed, n) {
		l[i] = float32(b>>8)/(1<<23) - 1
	}
	return l
}

// Labels are n integers in [0, classes).
func Labels(seed uint32, classes, n int) []int64 {
	l := make([]int64, n)
	for i, b := range Bits(seed, n) {
		l[i] = int64((b >> 8) % uint32(classes))
	}
	return l
}
