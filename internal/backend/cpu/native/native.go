// Package native runs machine code that was made while the program runs.
//
// Map copies code into memory of its own, which is first writable and then
// executable, never both. Call runs a piece of it. Code is a leaf in the sense of
// package emit: it gets one argument, the address of a record, keeps BP and SP, and
// must not take longer than about 100 microseconds, because Go cannot pre-empt it.
//
// Not every system allows this. Where Available is false, and where Map fails, the
// caller goes on with routines that were compiled ahead of time.
package native

import (
	"errors"
	"fmt"

	"github.com/sinter-dl/sinter/internal/debug"
)

// ErrRefused is the error of Map where code cannot be made executable.
var ErrRefused = errors.New("native: the system refuses memory for machine code")

// Block is a mapping that holds pieces of code.
type Block struct {
	memory  []byte
	entries []uintptr
}

// refused simulates a system that does not allow machine code to be made.
var refused = debug.On("nonative")

// Refuse makes Map fail as on a system that does not allow machine code to be made,
// or stops doing so. It is for tests.
func Refuse(yes bool) { refused = yes }

// Available tells whether Map may succeed.
func Available() bool { return supported && !refused }

// Map makes code executable. The pieces are placed 64 bytes apart at least, so each
// must be independent of its position.
func Map(code ...[]byte) (*Block, error) {
	if !Available() {
		return nil, ErrRefused
	}
	const align = 64
	size := 0
	for _, c := range code {
		size += (len(c) + align - 1) &^ (align - 1)
	}
	b := &Block{entries: make([]uintptr, len(code))}
	if size == 0 {
		return b, nil
	}
	var err error
	if b.memory, err = reserve(size); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	at := 0
	for i, c := range code {
		b.entries[i] = address(b.memory) + uintptr(at)
		at += (copy(b.memory[at:], c) + align - 1) &^ (align - 1)
	}
	if err := seal(b.memory); err != nil {
		release(b.memory)
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	return b, nil
}

// Entry is the address of piece i, for Call.
func (b *Block) Entry(i int) uintptr { return b.entries[i] }

// Size is the number of bytes mapped.
func (b *Block) Size() int { return len(b.memory) }

// Close gives the memory back. No piece may be running or be called again.
func (b *Block) Close() {
	if b.memory != nil {
		release(b.memory)
		b.memory, b.entries = nil, nil
	}
}
