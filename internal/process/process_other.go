//go:build !(linux || darwin || windows)

package process

// Of says no more than which machine it is on: how to ask this system when a process
// started is not known here.
func Of(int) (ID, error) { return ID{Host: host()}, nil }

// Look cannot tell, so that a process is believed to live as long as it says so.
func Look(int, ID) Condition { return Hidden }
