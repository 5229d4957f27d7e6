package schedule

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/internal/nearest"
)

// zoneNames are the names of the IANA time zone database, as Go's copy of it has them.
// A list of its own is needed because package time reads zones but does not list them.
//
//go:embed zones.txt
var zoneNames string

// Zones are the names of the zones that there are, sorted.
func Zones() []string { return strings.Fields(zoneNames) }

// UnknownZoneError is a name that no zone has.
type UnknownZoneError struct {
	Name    string
	Nearest []string // the best first; may be empty
}

func (e *UnknownZoneError) Error() string {
	if len(e.Nearest) == 0 {
		return fmt.Sprintf("there is no time zone %q; expected a name of the IANA database such as Europe/Paris, America/New_York or UTC", e.Name)
	}
	return fmt.Sprintf("there is no time zone %q; did you mean %s?", e.Name, strings.Join(e.Nearest, ", "))
}

// Zone finds a zone by its name, whatever its case. Local is that of the machine. The
// error is an *UnknownZoneError, or says that the machine has no data on zones; a program
// that imports time/tzdata brings them along.
func Zone(name string) (*time.Location, error) {
	if strings.EqualFold(name, "local") {
		return time.Local, nil
	}
	names := Zones()
	i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	if i < 0 {
		return nil, &UnknownZoneError{name, nearest.Names(name, names, 3)}
	}
	zone, err := time.LoadLocation(names[i])
	if err != nil {
		return nil, fmt.Errorf("the time zone %s cannot be read: %w; install the system's zone data (package tzdata)", names[i], err)
	}
	return zone, nil
}
