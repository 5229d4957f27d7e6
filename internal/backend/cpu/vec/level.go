package vec

import (
	"fmt"
	"os"
	"slices"
)

// Level names a set of instructions.
type Level string

// The levels, from the lowest. A processor that has one has those before it.
const (
	Generic Level = "generic"
	AVX2    Level = "avx2"   // with FMA
	AVX512  Level = "avx512" // F, BW, DQ and VL
	NEON    Level = "neon"   // of arm64
)

var level Level

// Current is the level in use.
func Current() Level { return level }

func init() {
	best := Levels()[len(Levels())-1]
	if want := Level(os.Getenv("SINTER_CPU")); slices.Contains(Levels(), want) {
		best = want
	} else if want != "" {
		fmt.Fprintf(os.Stderr, "sinter: SINTER_CPU=%s is not one of %v, which this processor has; using %s\n", want, Levels(), best)
	}
	Use(best)
}
