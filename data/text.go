package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data/tokenizer"
)

// TextOptions say how a text is made into examples.
type TextOptions struct {
	Block    int    // tokens of one example
	PerEpoch int    // examples of one training epoch; 0: as many as fit into the text
	Seed     uint64 // of the places that training examples are taken from
	// Tokenizer encodes the text. If there is none, Train makes it of the part for
	// training; without that the tokens are the characters of the whole text.
	Tokenizer tokenizer.Tokenizer
	Train     func(text string) (tokenizer.Tokenizer, error)
}

// heldOutText is the part of a text, at its end, that is for testing.
const heldOutText = 0.1

// OpenText reads a text file, or a folder of .txt files in the order of their
// names, for a model of its tokens. X is int64 [Block] and Y the same moved on by one
// token. The last tenth of the characters is for testing, in blocks one after the
// other; the examples for training begin anywhere in the rest, at other places every
// epoch.
func OpenText(path string, opt TextOptions) (*Source, error) {
	if opt.Block < 1 || opt.PerEpoch < 0 {
		return nil, fmt.Errorf("data: text options: block of %d tokens, %d examples per epoch; expected a block of at least 1", opt.Block, opt.PerEpoch)
	}
	text, err := ReadText(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	src := &Source{Task: Language, Tokenizer: opt.Tokenizer, Digest: hex.EncodeToString(sum[:])}
	characters := utf8.RuneCountInString(text)
	held := int(heldOutText * float64(characters))
	cut := len(text)
	for range held {
		_, n := utf8.DecodeLastRuneInString(text[:cut])
		cut -= n
	}
	switch {
	case src.Tokenizer != nil:
	case opt.Train != nil:
		if src.Tokenizer, err = opt.Train(text[:cut]); err != nil {
			return nil, fmt.Errorf("%w (of %s)", err, path)
		}
	default:
		src.Tokenizer = tokenizer.NewChars(text)
	}
	train, err := src.Tokenizer.Encode(text[:cut])
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	test, err := src.Tokenizer.Encode(text[cut:])
	if err != nil {
		return nil, fmt.Errorf("%w (in %s, from byte %d on)", err, path, cut)
	}
	if need := opt.Block + 1; len(test) < need || len(train) < need {
		return nil, fmt.Errorf("data: %s has %d characters, of which the last %d are for testing: %d tokens there and %d to train on; expected at least %d, one block of %d and the token after it: take a longer text or a smaller block", path, characters, held, len(test), len(train), need, opt.Block)
	}
	if opt.PerEpoch == 0 {
		opt.PerEpoch = (len(train) - 1) / opt.Block
	}
	src.Train = randomBlocks{text: newTextBlocks(train, opt.Block), n: opt.PerEpoch, seed: opt.Seed}.Epoch(0)
	src.Test = newTextBlocks(test, opt.Block)
	if _, ok := src.Tokenizer.(*tokenizer.Chars); ok {
		src.note("%d characters, %d different ones; the last %d are for testing", characters, src.Tokenizer.Size(), held)
	} else {
		src.note("%d characters as %d tokens of %d different ones; the last %d characters are for testing", characters, len(train)+len(test), src.Tokenizer.Size(), held)
	}
	return src, nil
}

// ReadText is the content of a text file, or of the .txt files in a folder one
// after the other, each on a new line. Of a JSONL file it is the member "text" of
// every object. Files may be compressed by gzip.
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
		b, err := readContent(name)
		if err != nil {
			return "", err
		}
		if b = trimBOM(b); IsJSONL(name) {
			if b, err = jsonTexts(name, b); err != nil {
				return "", err
			}
		}
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
