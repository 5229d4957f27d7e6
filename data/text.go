package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sinter-dl/sinter"
)

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

// Encode gives the tokens of a text. A character that is not in the vocabulary
// is an error.
func (c *Chars) Encode(text string) ([]int64, error) {
	ids := make([]int64, 0, len(text))
	for at, r := range text {
		id, ok := c.index[r]
		if !ok {
			return nil, fmt.Errorf("data: the character %q at byte %d is not in the vocabulary; known are %q", r, at, string(c.vocabulary))
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

type charsJSON struct {
	Type       string `json:"type"`
	Vocabulary string `json:"vocabulary"`
}

// MarshalJSON writes the vocabulary as one string.
func (c *Chars) MarshalJSON() ([]byte, error) {
	return json.Marshal(charsJSON{"characters", string(c.vocabulary)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Chars) UnmarshalJSON(b []byte) error {
	var j charsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("data: tokenizer: %w", err)
	}
	vocabulary := []rune(j.Vocabulary)
	if j.Type != "characters" {
		return fmt.Errorf("data: tokenizer: type %q, expected \"characters\"", j.Type)
	}
	for i := 1; i < len(vocabulary); i++ {
		if vocabulary[i-1] >= vocabulary[i] {
			return fmt.Errorf("data: tokenizer: the vocabulary is not sorted at character %d, %q", i, vocabulary[i])
		}
	}
	*c = *newChars(vocabulary)
	return nil
}

// TextOptions say how a text is made into examples.
type TextOptions struct {
	Block    int    // tokens of one example
	PerEpoch int    // examples of one training epoch; 0: as many as fit into the text
	Seed     uint64 // of the places that training examples are taken from
	// Tokenizer encodes the text, for a model that has been trained already; nil
	// makes one of the text.
	Tokenizer *Chars
}

// heldOutText is the part of a text, at its end, that is for testing.
const heldOutText = 0.1

// OpenText reads a text file, or a folder of .txt files in the order of their
// names, for a model of its characters. X is int64 [Block] and Y the same moved
// on by one character. The last tenth of the text is for testing, in blocks one
// after the other; the examples for training begin anywhere in the rest, at
// other places every epoch.
func OpenText(path string, opt TextOptions) (*Source, error) {
	if opt.Block < 1 || opt.PerEpoch < 0 {
		return nil, fmt.Errorf("data: text options: block of %d characters, %d examples per epoch; expected a block of at least 1", opt.Block, opt.PerEpoch)
	}
	text, err := ReadText(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	src := &Source{Task: Language, Tokenizer: opt.Tokenizer, Digest: hex.EncodeToString(sum[:])}
	if src.Tokenizer == nil {
		src.Tokenizer = NewChars(text)
	}
	ids, err := src.Tokenizer.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	cut := len(ids) - int(heldOutText*float64(len(ids)))
	if need := opt.Block + 1; len(ids)-cut < need {
		return nil, fmt.Errorf("data: %s has %d characters, of which the last %d are for testing; expected at least %d there, one block of %d and the character after it: take a longer text or a smaller block", path, len(ids), len(ids)-cut, need, opt.Block)
	}
	if opt.PerEpoch == 0 {
		opt.PerEpoch = (cut - 1) / opt.Block
	}
	src.Train = randomBlocks{text: newTextBlocks(ids[:cut], opt.Block), n: opt.PerEpoch, seed: opt.Seed}.Epoch(0)
	src.Test = newTextBlocks(ids[cut:], opt.Block)
	src.note("%d characters, %d different ones; the last %d are for testing", len(ids), src.Tokenizer.Size(), len(ids)-cut)
	return src, nil
}

// ReadText is the content of a text file, or of the .txt files in a folder one
// after the other, each on a new line.
func ReadText(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("data: %w", err)
	}
	files := []string{path}
	if st.IsDir() {
		if files, err = listTexts(path); err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", fmt.Errorf("data: the folder %s has no .txt files", path)
		}
	}
	var all []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("data: %w", err)
		}
		b = trimBOM(b)
		for at := 0; at < len(b); {
			r, n := utf8.DecodeRune(b[at:])
			if r == utf8.RuneError && n <= 1 {
				return "", fmt.Errorf("data: %s, byte %d: %#02x is not UTF-8 text; convert the file, for example with iconv -f LATIN1 -t UTF-8", name, at, b[at])
			}
			at += n
		}
		if len(all) > 0 && all[len(all)-1] != '\n' {
			all = append(all, '\n')
		}
		all = append(all, b...)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("data: %s is empty, expected text", path)
	}
	return string(all), nil
}

// trimBOM takes away the mark that some editors put before UTF-8 text.
func trimBOM(b []byte) []byte {
	if len(b) >= 3 && string(b[:3]) == "\xef\xbb\xbf" {
		return b[3:]
	}
	return b
}

func listTexts(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && strings.EqualFold(filepath.Ext(e.Name()), ".txt") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// textBlocks is a text cut into blocks that lie one after the other.
type textBlocks struct {
	ids    []int64
	block  int
	fields []Field
}

func newTextBlocks(ids []int64, block int) textBlocks {
	return textBlocks{ids, block, []Field{
		{Name: "x", DType: sinter.Int64, Shape: []int{block}},
		{Name: "y", DType: sinter.Int64, Shape: []int{block}},
	}}
}

func (t textBlocks) Len() int        { return (len(t.ids) - 1) / t.block }
func (t textBlocks) Fields() []Field { return t.fields }

func (t textBlocks) Read(i int, dst [][]byte) error {
	t.readAt(i*t.block, dst)
	return nil
}

func (t textBlocks) readAt(start int, dst [][]byte) {
	for k, id := range t.ids[start : start+t.block] {
		binary.LittleEndian.PutUint64(dst[0][8*k:], uint64(id))
		binary.LittleEndian.PutUint64(dst[1][8*k:], uint64(t.ids[start+k+1]))
	}
}

// randomBlocks is n blocks of a text that begin anywhere, the same for the same
// seed and epoch.
type randomBlocks struct {
	text   textBlocks
	n      int
	seed   uint64
	starts []int
}

func (t randomBlocks) Len() int        { return t.n }
func (t randomBlocks) Fields() []Field { return t.text.fields }

func (t randomBlocks) Read(i int, dst [][]byte) error {
	t.text.readAt(t.starts[i], dst)
	return nil
}

func (t randomBlocks) Epoch(e int) Dataset {
	g := sinter.NewGenerator(mix(mix(t.seed, textSite), uint64(e)))
	t.starts = make([]int, t.n)
	for i := range t.starts {
		t.starts[i] = g.IntN(len(t.text.ids) - t.text.block)
	}
	return t
}

// textSite sets the places in a text apart from other random numbers of the
// same seed.
const textSite = 0x74657874
