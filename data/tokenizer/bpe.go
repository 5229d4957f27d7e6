package tokenizer

import (
	"container/heap"
	"fmt"
	"strings"
	"unicode/utf8"
)

// model gives the tokens of a piece of text.
type model interface {
	encode(dst []int64, piece string) ([]int64, error)
}

// pair is two tokens that stand side by side.
type pair struct{ left, right int32 }

// merge is what becomes of a pair, and when: those of lower rank come first.
type merge struct{ rank, token int32 }

// bpe is byte-pair encoding: Sennrich et al., "Neural machine translation of rare
// words with subword units", 2016. A piece begins as the tokens of its characters
// (bytes, at byte level), and of all pairs side by side that of the lowest rank is
// merged, the leftmost first, until none is left.
type bpe struct {
	ids    map[string]int64
	merges map[pair]merge

	bytes     *[256]int32 // at byte level the token of each byte, -1 where there is none
	prefix    string      // of the tokens of a word but its first
	suffix    string      // of the last
	unk       int64       // for a character that is in no token; -1: an error
	fuse      bool        // several of these become one
	fallback  *[256]int32 // tokens of bytes, to write unknown characters with
	whole     bool        // a piece that is a token is not put together
	longToken int         // bytes of the longest token
}

// noByte is the place of a byte that has no token.
const noByte = -1

func (m *bpe) encode(dst []int64, piece string) ([]int64, error) {
	if m.whole {
		if id, ok := m.ids[piece]; ok && len(piece) <= m.longToken {
			return append(dst, id), nil
		}
	}
	var buffer [64]int32
	symbols := buffer[:0]
	if m.bytes != nil {
		for i := range len(piece) {
			id := m.bytes[piece[i]]
			if id == noByte {
				if m.unk < 0 {
					return nil, fmt.Errorf("tokenizer: the byte %#02x in %q is not in the vocabulary", piece[i], shorten(piece))
				}
				id = int32(m.unk)
			}
			symbols = append(symbols, id)
		}
	} else {
		var err error
		if symbols, err = m.characters(symbols, piece); err != nil {
			return nil, err
		}
	}
	for _, s := range m.merge(symbols) {
		dst = append(dst, int64(s))
	}
	return dst, nil
}

// characters appends the tokens of single characters.
func (m *bpe) characters(symbols []int32, piece string) ([]int32, error) {
	unknown := false // whether the last symbol stands for unknown characters
	for i, r := range piece {
		n := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n = utf8.DecodeRuneInString(piece[i:])
		}
		text := piece[i : i+n]
		token := text
		if i > 0 {
			token = m.prefix + token
		}
		if i+n == len(piece) {
			token += m.suffix
		}
		if id, ok := m.ids[token]; ok {
			symbols, unknown = append(symbols, int32(id)), false
			continue
		}
		if m.fallback != nil {
			had := len(symbols)
			for k := range len(text) {
				id := m.fallback[text[k]]
				if id == noByte {
					symbols = symbols[:had]
					break
				}
				symbols = append(symbols, id)
			}
			if len(symbols) > had {
				unknown = false
				continue
			}
		}
		if m.unk < 0 {
			return nil, fmt.Errorf("tokenizer: the character %q in %q is not in the vocabulary, which has no token for unknown ones", text, shorten(piece))
		}
		if !(m.fuse && unknown) {
			symbols = append(symbols, int32(m.unk))
		}
		unknown = true
	}
	return symbols, nil
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// merge carries out the merges, in place.
func (m *bpe) merge(s []int32) []int32 {
	if len(s) > 40 {
		return m.mergeLong(s)
	}
	const none = 1<<31 - 1
	var todo [40]merge // of the pair that begins at i
	look := func(i int) merge {
		if i < 0 || i+1 >= len(s) {
			return merge{none, 0}
		}
		if r, ok := m.merges[pair{s[i], s[i+1]}]; ok {
			return r
		}
		return merge{none, 0}
	}
	for i := range s {
		todo[i] = look(i)
	}
	for len(s) > 1 {
		best := 0
		for i := 1; i < len(s)-1; i++ {
			if todo[i].rank < todo[best].rank {
				best = i
			}
		}
		if todo[best].rank == none {
			break
		}
		s[best] = todo[best].token
		copy(s[best+1:], s[best+2:])
		copy(todo[best+1:len(s)-1], todo[best+2:len(s)])
		s = s[:len(s)-1]
		todo[best] = look(best)
		if best > 0 {
			todo[best-1] = look(best - 1)
		}
	}
	return s
}

// candidate is a pair that may be merged, at a place in a linked list.
type candidate struct {
	merge
	at   int32
	pair pair
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	old := *c
	x := old[len(old)-1]
	*c = old[:len(old)-1]
	return x
}

// mergeLong is merge for pieces that may be as long as a whole text: a queue of
// pairs in place of a search, n log n in all.
func (m *bpe) mergeLong(s []int32) []int32 {
	next, before := make([]int32, len(s)), make([]int32, len(s))
	const gone = -2
	for i := range s {
		next[i], before[i] = int32(i+1), int32(i-1)
	}
	next[len(s)-1] = -1
	var queue candidates
	consider := func(i int32) (candidate, bool) {
		if i < 0 || next[i] < 0 {
			return candidate{}, false
		}
		p := pair{s[i], s[next[i]]}
		r, ok := m.merges[p]
		return candidate{r, i, p}, ok
	}
	for i := range s {
		if c, ok := consider(int32(i)); ok {
			queue = append(queue, c)
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		i := c.at
		if next[i] == gone || next[i] < 0 || s[i] != c.pair.left || s[next[i]] != c.pair.right {
			continue // one of the two was merged with another since
		}
		j := next[i]
		s[i] = c.token
		next[i] = next[j]
		if next[i] >= 0 {
			before[next[i]] = i
		}
		next[j] = gone
		for _, k := range [2]int32{before[i], i} {
			if c, ok := consider(k); ok {
				heap.Push(&queue, c)
			}
		}
	}
	out := s[:0]
	for i := int32(0); i >= 0; i = next[i] {
		out = append(out, s[i]) // never ahead of i
	}
	return out
}

// newBPE checks a model of tokenizer.json. The vocabulary is in the form of the
// file: at byte level each byte is written as a printable character.
func newBPE(f *modelFile, byteLevel bool) (*bpe, error) {
	m := &bpe{merges: make(map[pair]merge, len(f.Merges)), unk: -1, fuse: f.FuseUnk, whole: f.IgnoreMerges,
		prefix: deref(f.ContinuingSubwordPrefix), suffix: deref(f.EndOfWordSuffix)}
	if f.Dropout != nil && *f.Dropout > 0 {
		return nil, fmt.Errorf("tokenizer: BPE with dropout %g is not supported: ids would be random", *f.Dropout)
	}
	m.ids = f.Vocab
	if byteLevel {
		if m.prefix != "" || m.suffix != "" {
			return nil, fmt.Errorf("tokenizer: a byte-level BPE with prefix %q and suffix %q of tokens is not supported", m.prefix, m.suffix)
		}
		// Pieces are raw bytes, so the tokens are kept as such. A token with other
		// characters is never made of bytes.
		m.ids = make(map[string]int64, len(f.Vocab))
		m.bytes = new([256]int32)
		for i := range m.bytes {
			m.bytes[i] = noByte
		}
		for token, id := range f.Vocab {
			raw, ok := fromByteLevel(token)
			if !ok {
				continue
			}
			m.ids[raw] = id
			if len(raw) == 1 {
				m.bytes[raw[0]] = int32(id)
			}
		}
	}
	for token := range m.ids {
		m.longToken = max(m.longToken, len(token))
	}
	if f.UnkToken != nil && *f.UnkToken != "" {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return nil, fmt.Errorf("tokenizer: the token for unknown text, %q, is not in the vocabulary", *f.UnkToken)
		}
		m.unk = id
	}
	if f.ByteFallback {
		m.fallback = byteTokens(f.Vocab)
	}
	for rank, rule := range f.Merges {
		if rule[0] == "" || rule[1] == "" {
			return nil, fmt.Errorf("tokenizer: merge %d, %q with %q: a token that is empty would be merged without end", rank, rule[0], rule[1])
		}
		left, ok1 := f.Vocab[rule[0]]
		right, ok2 := f.Vocab[rule[1]]
		token := rule[0] + strings.TrimPrefix(rule[1], m.prefix)
		id, ok3 := f.Vocab[token]
		if !ok1 || !ok2 || !ok3 {
			missing := token
			if !ok1 {
				missing = rule[0]
			} else if !ok2 {
				missing = rule[1]
			}
			return nil, fmt.Errorf("tokenizer: merge %d, %q with %q: %q is not in the vocabulary", rank, rule[0], rule[1], missing)
		}
		m.merges[pair{int32(left), int32(right)}] = merge{int32(rank), int32(id)}
	}
	return m, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// byteTokens are the tokens <0x00> to <0xFF>.
func byteTokens(vocab map[string]int64) *[256]int32 {
	t := new([256]int32)
	for b := range t {
		t[b] = noByte
		if id, ok := vocab[fmt.Sprintf("<0x%02X>", b)]; ok {
			t[b] = int32(id)
		}
	}
	return t
}

// The characters that byte-level vocabularies write bytes with: printable ones of
// Latin-1 stand for themselves, the others for characters from U+0100 on, in order.
var (
	byteToRune = func() (t [256]rune) {
		n := rune(256)
		for b := range rune(256) {
			if '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b {
				t[b] = b
			} else {
				t[b] = n
				n++
			}
		}
		return t
	}()
	runeToByte = func() map[rune]byte {
		t := make(map[rune]byte, 256)
		for b, r := range byteToRune {
			t[r] = byte(b)
		}
		return t
	}()
)

// fromByteLevel gives the bytes that a token of a byte-level vocabulary stands for,
// if all its characters stand for bytes.
func fromByteLevel(token string) (raw string, ok bool) {
	b := make([]byte, 0, len(token))
	for _, r := range token {
		v, ok := runeToByte[r]
		if !ok {
			return "", false
		}
		b = append(b, v)
	}
	return string(b), true
}
