//go:build !amd64 && !arm64

package vec

// Levels lists what this processor has.
func Levels() []Level { return []Level{Generic} }

// Use switches to a level that Levels lists. It is for the start of the program
// and for tests: kernels that are compiled already keep their routines.
func Use(l Level) {
	level = Generic
	fast = table{}
}

func bytesToUnit(dst, src []byte) int { return 0 }
