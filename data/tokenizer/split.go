package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The patterns by which byte-level tokenizers cut a text into pieces. They are
// regular expressions with a lookahead, \s+(?!\S), which Go's regexp does not have;
// written by hand they also are many times faster.
const (
	patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	// GPT-4, Llama 3; and with digits one by one Qwen 2.
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// A scanner gives the length of the piece that a text, which is not empty, begins
// with.
type scanner func(s string) int

// scanners are those for the patterns that are known.
var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternLlama3: func(s string) int { return scanGPT4(s, 3) },
	patternQwen2:  func(s string) int { return scanGPT4(s, 1) },
}

// class is what the patterns know of a character.
type class uint8

const (
	other  class = iota // also a byte that is no UTF-8
	letter              // \p{L}
	number              // \p{N}
	space               // \s: the property White_Space
)

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		t[r] = classOf(r)
	}
	return t
}()

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.Is(unicode.White_Space, r):
		return space
	}
	return other
}

// at is the class of the character at s[i:] and its length; the end of the text is
// a space of length 0.
func at(s string, i int) (class, int) {
	if i >= len(s) {
		return space, 0
	}
	if b := s[i]; b < utf8.RuneSelf {
		return asciiClass[b], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if r == utf8.RuneError && n == 1 {
		return other, 1
	}
	return classOf(r), n
}

// run is where characters of a class, from i on, end.
func run(s string, i int, c class) int {
	for i < len(s) {
		k, n := at(s, i)
		if k != c {
			break
		}
		i += n
	}
	return i
}

// spaces is the length of \s+(?!\S)|\s+ at the beginning of s: all of a run at the
// end of the text, else the run without its last space, which belongs to what
// follows, unless it is the only one.
func spaces(s string) int {
	end, last := 0, 0
	for end < len(s) {
		c, n := at(s, end)
		if c != space {
			if last > 0 {
				return last
			}
			return end
		}
		last = end
		end += n
	}
	return end
}

// contraction is the length of 's 't 're 've 'm 'll 'd, else 0.
func contraction(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}

func scanGPT2(s string) int {
	if s[0] == '\'' {
		if n := contraction(s); n > 0 {
			return n
		}
	}
	c, n := at(s, 0)
	if s[0] == ' ' {
		c, n = at(s, 1)
		n++
	}
	if c == space {
		return spaces(s)
	}
	return run(s, n, c)
}

// contractionFold is contraction in either case.
func contractionFold(s string) int {
	lower := func(b byte) byte {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	if len(s) < 2 {
		return 0
	}
	switch lower(s[1]) {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		if s[1:3] == "\u017f" { // long s, which is s without regard to case
			return 3
		}
		switch [2]byte{lower(s[1]), lower(s[2])} {
		case [2]byte{'r', 'e'}, [2]byte{'v', 'e'}, [2]byte{'l', 'l'}:
			return 3
		}
	}
	return 0
}

func scanGPT4(s string, digits int) int {
	if s[0] == '\'' {
		if n := contractionFold(s); n > 0 {
			return n
		}
	}
	newline := func(i int) bool { return i < len(s) && (s[i] == '\n' || s[i] == '\r') }
	c, n := at(s, 0)
	next, m := at(s, n)
	switch {
	case c == letter:
		return run(s, n, letter)
	case c == number:
		for end := n; ; digits-- {
			c, n := at(s, end)
			if c != number || digits == 1 {
				return end
			}
			end += n
		}
	case next == letter && !newline(0):
		return run(s, n+m, letter)
	}
	if s[0] == ' ' && next == other {
		c, n = next, n+m
	}
	if c == other {
		end := run(s, n, other)
		for newline(end) {
			end++
		}
		return end
	}
	// Only spaces are left: up to the last end of a line in the run, if there is one.
	for i := run(s, 0, space); i > 0; i-- {
		if newline(i - 1) {
			return i
		}
	}
	return spaces(s)
}
