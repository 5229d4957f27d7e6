//go:build !unix && !windows

package power

import "time"

func processTime() (time.Duration, bool) { return 0, false }
