//go:build !(linux || darwin || windows)

package live

// self says no more than which machine it is on: how to ask this system when a process
// started is not known here.
func self() identity { return identity{Host: host()} }

// look cannot tell, so that files are believed as long as they are renewed.
func look(int, identity) condition { return hidden }
