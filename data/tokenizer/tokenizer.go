// Package tokenizer turns text into the numbers that a language model reads, and
// back.
//
// There are three kinds of [Tokenizer]. [Bytes] has a token for each byte and [Chars]
// one for each character of a text; both are made in a moment and known by a line of
// JSON. [Pipeline] is everything else: byte-pair encoding as GPT-2 has it, trained
// here ([TrainBPE]) or elsewhere, and what Hugging Face's tokenizer.json describes. A
// Pipeline has the steps of that format, in this order, each of which may be absent:
//
//	text ─ added tokens cut out ─ normalise ─ split ─ model (pieces → ids) ─ ids
//	ids ─ tokens ─ decode ─ text
//
// The ids are those that Hugging Face's tokenizers gives, which the tests compare
// with; what a file asks for and is not here is refused by its name when the file is
// read, and never passed over.
//
// split.go has the patterns that cut a text into pieces before the model sees it;
// bpe.go and wordpiece.go the models; train.go learns merges from a
// text; huggingface.go reads and writes tokenizer.json, pipeline.go and steps.go carry
// it out.
//
// A tokenizer does not change once it is made and may be used by several goroutines
// at once.
package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Tokenizer is a way to write text as tokens, numbers from 0 to Size−1.
type Tokenizer interface {
	// Encode gives the tokens of a text. What the tokenizer has no token for is an
	// error that names it and its place.
	Encode(text string) ([]int64, error)
	// Decode gives the text of tokens; what is no token becomes U+FFFD. It gives back
	// bytes as they were encoded, so that the result is UTF-8 only if the tokens are
	// those of whole characters: see [Stream].
	Decode(ids []int64) string
	// Size is the number of tokens, special ones included.
	Size() int
	// Special are the tokens that stand for no text, such as the end of one, by name.
	Special() map[string]int64
}

// Stream decodes tokens one by one. It holds back what may still become another
// text, such as the first bytes of a character.
type Stream struct {
	Tokenizer Tokenizer

	ids   []int64 // the last ones: those since start
	shown int     // bytes of their text that were given out
}

// streamContext is how many tokens are decoded again with a new one, because its
// text may depend on those before it.
const streamContext = 16

// Push gives the text that a token adds; it may be empty.
func (s *Stream) Push(id int64) string {
	s.ids = append(s.ids, id)
	text := s.Tokenizer.Decode(s.ids)
	end := wholeCharacters(text)
	if end < s.shown { // a decoder that changed its mind: nothing that is out can be taken back
		return ""
	}
	fresh := strings.ToValidUTF8(text[s.shown:end], "\uFFFD")
	s.shown = end
	if len(s.ids) >= 2*streamContext {
		held := len(text) - end
		s.ids = slices.Clone(s.ids[len(s.ids)-streamContext:])
		s.shown = max(0, len(s.Tokenizer.Decode(s.ids))-held)
	}
	return fresh
}

// Close gives what was held back.
func (s *Stream) Close() string {
	text := s.Tokenizer.Decode(s.ids)
	rest := strings.ToValidUTF8(text[min(s.shown, len(text)):], "\uFFFD")
	s.ids, s.shown = nil, 0
	return rest
}

// wholeCharacters is the length of s without a character at its end that is cut
// off.
func wholeCharacters(s string) int {
	for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
		if b := s[len(s)-n]; utf8.RuneStart(b) {
			if !utf8.FullRuneInString(s[len(s)-n:]) {
				return len(s) - n
			}
			break
		}
	}
	return len(s)
}

// Bytes has a token for each byte: 256, and no text that it cannot write.
type Bytes struct{}

func (Bytes) Encode(text string) ([]int64, error) {
	ids := make([]int64, len(text))
	for i := range len(text) {
		ids[i] = int64(text[i])
	}
	return ids, nil
}

func (Bytes) Decode(ids []int64) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || id > 255 {
			b.WriteRune(utf8.RuneError)
			continue
		}
		b.WriteByte(byte(id))
	}
	return b.String()
}

// Size is 256.
func (Bytes) Size() int { return 256 }

// Special is empty.
func (Bytes) Special() map[string]int64 { return nil }

// Chars is a tokenizer whose tokens are the characters (Unicode code points) of
// a text: token i is the i-th smallest of those that occur.
type Chars struct {
	vocabulary []rune
	index      map[rune]int64
}

// NewChars makes the tokenizer of a text.
func NewChars(text string) *Chars {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	vocabulary := make([]rune, 0, len(seen))
	for r := range seen {
		vocabulary = append(vocabulary, r)
	}
	slices.Sort(vocabulary)
	return newChars(vocabulary)
}

func newChars(vocabulary []rune) *Chars {
	c := &Chars{vocabulary, make(map[rune]int64, len(vocabulary))}
	for i, r := range vocabulary {
		c.index[r] = int64(i)
	}
	return c
}

// Size is the number of tokens.
func (c *Chars) Size() int { return len(c.vocabulary) }

// Special is empty.
func (c *Chars) Special() map[string]int64 { return nil }

// Encode gives the tokens of a text. A character that is not in the vocabulary
// is an error.
func (c *Chars) Encode(text string) ([]int64, error) {
	ids := make([]int64, 0, len(text))
	for at, r := range text {
		id, ok := c.index[r]
		if !ok {
			return nil, fmt.Errorf("tokenizer: the character %q at byte %d is not in the vocabulary; known are %q", r, at, string(c.vocabulary))
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Decode gives the text of tokens. What is no token becomes U+FFFD.
func (c *Chars) Decode(ids []int64) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || id >= int64(len(c.vocabulary)) {
			b.WriteRune(utf8.RuneError)
			continue
		}
		b.WriteRune(c.vocabulary[id])
	}
	return b.String()
}

// simpleJSON is how Bytes and Chars are stored.
type simpleJSON struct {
	Type       string  `json:"type"` // "characters" or "bytes"
	Vocabulary *string `json:"vocabulary,omitempty"`
}

// MarshalJSON writes the vocabulary as one string.
func (c *Chars) MarshalJSON() ([]byte, error) {
	v := string(c.vocabulary)
	return json.Marshal(simpleJSON{"characters", &v})
}

// MarshalJSON writes that it is bytes.
func (Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(simpleJSON{Type: "bytes"}) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Chars) UnmarshalJSON(b []byte) error {
	var j simpleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	if j.Type != "characters" || j.Vocabulary == nil {
		return fmt.Errorf("tokenizer: type %q, expected \"characters\" and a vocabulary", j.Type)
	}
	vocabulary := []rune(*j.Vocabulary)
	for i := 1; i < len(vocabulary); i++ {
		if vocabulary[i-1] >= vocabulary[i] {
			return fmt.Errorf("tokenizer: the vocabulary is not sorted at character %d, %q", i, vocabulary[i])
		}
	}
	*c = *newChars(vocabulary)
	return nil
}

// Parse reads what a tokenizer of any kind writes with json.Marshal: a tokenizer.json,
// or the line of Bytes or Chars.
func Parse(text []byte) (Tokenizer, error) {
	var kind struct {
		Type  string          `json:"type"`
		Model json.RawMessage `json:"model"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, fmt.Errorf("tokenizer: not JSON: %w", err)
	}
	switch {
	case kind.Type == "bytes":
		return Bytes{}, nil
	case kind.Type == "characters":
		c := new(Chars)
		return c, c.UnmarshalJSON(text)
	case kind.Model != nil:
		return parsePipeline(text)
	}
	return nil, errors.New(`tokenizer: the JSON has no "model"; expected a tokenizer.json`)
}

// Load reads a tokenizer.json, or a folder that has one, or a folder with the two
// files of GPT-2: the vocabulary, a JSON object called encoder.json or vocab.json, and
// the merges, called vocab.bpe or merges.txt; the names may have something before
// them.
func Load(path string) (Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	name := path
	if info.IsDir() {
		name = filepath.Join(path, "tokenizer.json")
		if _, err := os.Stat(name); err != nil {
			return loadGPT2(path)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func loadGPT2(dir string) (Tokenizer, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	find := func(endings ...string) (found []string) {
		for _, e := range entries {
			if slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(e.Name(), end) }) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
		return found
	}
	vocabs, merges := find("encoder.json", "vocab.json"), find("vocab.bpe", "merges.txt")
	if len(vocabs) != 1 || len(merges) != 1 {
		return nil, fmt.Errorf("tokenizer: the folder %s has no tokenizer.json, and %d files that end in encoder.json or vocab.json and %d that end in vocab.bpe or merges.txt; expected one of each", dir, len(vocabs), len(merges))
	}
	vocab, err := os.ReadFile(vocabs[0])
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	rules, err := os.ReadFile(merges[0])
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := GPT2(vocab, rules)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", vocabs[0], merges[0], err)
	}
	return t, nil
}

// GPT2 makes the tokenizer of GPT-2's files: encoder.json, an object of tokens with
// their ids, and vocab.bpe, a line for each merge in their order. A token
// <|endoftext|>, if there is one, is special.
func GPT2(encoder, merges []byte) (*Pipeline, error) {
	f := byteLevelFile()
	if err := json.Unmarshal(encoder, &f.Model.Vocab); err != nil {
		return nil, fmt.Errorf("tokenizer: the vocabulary: %w", err)
	}
	line := 0
	for text := range bytes.Lines(merges) {
		line++
		rule := strings.TrimRight(string(text), "\r\n")
		if rule == "" || line == 1 && strings.HasPrefix(rule, "#version") {
			continue
		}
		left, right, ok := strings.Cut(rule, " ")
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("tokenizer: line %d of the merges is %q, expected two tokens with a space between them", line, rule)
		}
		f.Model.Merges = append(f.Model.Merges, [2]string{left, right})
	}
	const end = "<|endoftext|>"
	if id, ok := f.Model.Vocab[end]; ok {
		f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: end, Special: true})
	}
	return newPipeline(f, nil)
}
