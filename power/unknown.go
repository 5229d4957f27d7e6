package power

import (
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/nearest"
)

// UnknownError is a name that there is not: of a region, a currency, a device.
type UnknownError struct {
	Kind, Name string
	Nearest    []string // the names most like it, the likest first; there may be none
	Hint       string   // what else can be done
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("power: unknown %s %q", e.Kind, e.Name)
	if len(e.Nearest) > 0 {
		s += "; the nearest are " + strings.Join(e.Nearest, ", ")
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// near is the known names that a name may stand for. One that is longer than any stands for
// none, and comparing it takes long.
func near(name string, known []string) []string {
	if len(name) > 64 {
		return nil
	}
	return nearest.Names(name, known, 3)
}
