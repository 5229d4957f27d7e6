package power

import (
	"fmt"
	"strings"
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
