package ir

// callers writes the return addresses of the functions that are running, from the
// caller of its caller upward, and returns their number. It does what runtime.Callers
// does at a twentieth of the cost, which matters because every node of every step is
// recorded anew.
//
//go:noescape
func callers(pcs *[8]uintptr) int
