package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/tokenizer"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Tokenizer is a tokenizer as a run keeps it: bytes and characters in run.json,
// others, whose vocabularies are long, in a tokenizer.json beside it, which other
// programs read.
type Tokenizer struct {
	tokenizer.Tokenizer
	file *tokenizerFile // until load
}

// tokenizerFile stands in run.json for a tokenizer in a file.
type tokenizerFile struct {
	Type   string `json:"type"` // "file"
	File   string `json:"file"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// TokenizerFile is the name of the tokenizer in a run folder.
const TokenizerFile = "tokenizer.json"

// keep is nil for a model without tokens.
func keep(t tokenizer.Tokenizer) *Tokenizer {
	if t == nil {
		return nil
	}
	return &Tokenizer{Tokenizer: t}
}

// unit is what its tokens are called.
func (t *Tokenizer) unit() string {
	switch t.Tokenizer.(type) {
	case *tokenizer.Chars:
		return "characters"
	case tokenizer.Bytes:
		return "bytes"
	}
	return "tokens"
}

// content is the tokenizer.json, nil for one that is kept in run.json.
func (t *Tokenizer) content() ([]byte, error) {
	if p, ok := t.Tokenizer.(*tokenizer.Pipeline); ok {
		return p.MarshalJSON()
	}
	return nil, nil
}

// MarshalJSON writes the tokenizer, or where it is.
func (t *Tokenizer) MarshalJSON() ([]byte, error) {
	content, err := t.content()
	if err != nil {
		return nil, err
	}
	if content == nil {
		return json.Marshal(t.Tokenizer)
	}
	return json.Marshal(tokenizerFile{"file", TokenizerFile, t.Size(), digest(content)})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// UnmarshalJSON reads what MarshalJSON wrote; one in a file is there after load.
func (t *Tokenizer) UnmarshalJSON(text []byte) error {
	f := new(tokenizerFile)
	if err := json.Unmarshal(text, f); err != nil {
		return err
	}
	if f.Type == "file" {
		if f.File != TokenizerFile {
			return fmt.Errorf("a tokenizer in the file %q, expected %q", f.File, TokenizerFile)
		}
		t.file = f
		return nil
	}
	var err error
	t.Tokenizer, err = tokenizer.Parse(text)
	return err
}

// save writes the file of a tokenizer that has one into the run folder.
func (t *Tokenizer) save(folder *rundir.Writer) error {
	if t == nil {
		return nil
	}
	content, err := t.content()
	if err == nil && content != nil {
		err = os.WriteFile(folder.File(TokenizerFile), content, 0o666)
	}
	if err != nil {
		return fmt.Errorf("writing the tokenizer: %w", err)
	}
	return nil
}

// load reads the file of a tokenizer that has one from the run folder.
func (t *Tokenizer) load(dir string) error {
	if t == nil || t.file == nil {
		return nil
	}
	name := filepath.Join(dir, t.file.File)
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the tokenizer: %w", err)
	}
	if digest(content) != t.file.SHA256 {
		return fmt.Errorf("%s is not the tokenizer that the run was trained with: it was altered (its SHA-256 is not that in %s)", name, rundir.ManifestFile)
	}
	if t.Tokenizer, err = tokenizer.Parse(bytes.TrimSpace(content)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t.file = nil
	return nil
}

// tokenizer sets how a text becomes tokens, as data.tokenizer says.
func (r *Recipe) tokenizer(o *data.TextOptions) error {
	spec, place := r.Data.Tokenizer, r.place("data.tokenizer")
	size, learn := strings.CutPrefix(spec, "bpe:")
	switch {
	case spec == "" || spec == "char":
	case spec == "byte":
		o.Tokenizer = tokenizer.Bytes{}
	case learn:
		n, err := strconv.Atoi(size)
		if err != nil || n < tokenizer.MinBPE {
			return usage(place, "data.tokenizer is %q, expected bpe: and a number of tokens, at least %d", spec, tokenizer.MinBPE)
		}
		o.Train = func(text string) (tokenizer.Tokenizer, error) { return tokenizer.TrainBPE(text, n) }
	default:
		if _, err := os.Stat(spec); err != nil && !strings.ContainsAny(spec, `./\`) {
			return usage(place, "unknown data.tokenizer %q%s; or bpe:SIZE, or the path of a tokenizer.json", spec, Suggest(spec, []string{"char", "byte", "bpe:4096"}))
		}
		t, err := tokenizer.Load(spec)
		if err != nil {
			return err
		}
		o.Tokenizer = t
	}
	return nil
}
