// Package debug reads the switches for finding out, the comma-separated words of
// the environment variable SINTER_DEBUG:
//
//	graph     print the graph after every pass of the compiler
//	kernels   print every program that is compiled
//	nofuse    one kernel per operation
//	verify    check the graph after every pass, and every program
//	recompile say why a program was compiled again
//	nograph   put kernels into a card's queue one by one, not as a graph
//	sync      wait after every kernel on a card, so that an error names it
//	nonative  make no machine code, as where the system refuses it
package debug

import (
	"os"
	"strings"
	"sync"
)

var words = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Split(os.Getenv("SINTER_DEBUG"), ",") {
		m[strings.TrimSpace(w)] = true
	}
	return m
})

// On tells whether a switch is set.
func On(word string) bool { return words()[word] }
