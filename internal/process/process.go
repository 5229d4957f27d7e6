// Package process tells whether a process that was seen before is still there, although
// numbers of processes are used again: by the time at which it started, the machine's
// boot and the space that its number is in.
package process

import "os"

// ID tells a process from all others, also from those that have or had its number.
type ID struct {
	Host  string `json:"host"`
	Boot  string `json:"boot,omitempty"`  // of the system, where it has a name
	Space string `json:"space,omitempty"` // of process numbers
	Start string `json:"start,omitempty"` // of the process, by the system's clock for that
}

// Condition is that of a process.
type Condition int

// What Look tells.
const (
	Gone    Condition = iota // it has ended
	Hidden                   // it cannot be seen from here
	Running                  //
	Halted                   // by job control
)

// Self identifies this process.
func Self() ID {
	id, _ := Of(os.Getpid())
	return id
}
