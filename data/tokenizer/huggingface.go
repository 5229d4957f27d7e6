package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// file is tokenizer.json.
type file struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    *step           `json:"normalizer"`
	PreTokenizer  *step           `json:"pre_tokenizer"`
	PostProcessor *step           `json:"post_processor"`
	Decoder       *step           `json:"decoder"`
	Model         modelFile       `json:"model"`
}

// addedToken is found in the text before anything else is done with it.
type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"` // found in the normalised text
	Special    bool   `json:"special"`
}

// step is a normaliser, pre-tokenizer, post-processor or decoder: the union of what
// they have.
type step struct {
	Type string `json:"type"`

	Normalizers   []step `json:"normalizers,omitempty"`
	Pretokenizers []step `json:"pretokenizers,omitempty"`
	Processors    []step `json:"processors,omitempty"`
	Decoders      []step `json:"decoders,omitempty"`

	Pattern  *pattern `json:"pattern,omitempty"`
	Content  string   `json:"content,omitempty"`
	Behavior string   `json:"behavior,omitempty"`
	Invert   bool     `json:"invert,omitempty"`

	AddPrefixSpace *bool   `json:"add_prefix_space,omitempty"`
	TrimOffsets    *bool   `json:"trim_offsets,omitempty"`
	UseRegex       *bool   `json:"use_regex,omitempty"`
	Replacement    string  `json:"replacement,omitempty"`
	PrependScheme  string  `json:"prepend_scheme,omitempty"`
	Split          *bool   `json:"split,omitempty"`
	Individual     bool    `json:"individual_digits,omitempty"`
	Prepend        string  `json:"prepend,omitempty"`
	Prefix         string  `json:"prefix,omitempty"`
	Suffix         *string `json:"suffix,omitempty"`
	Cleanup        *bool   `json:"cleanup,omitempty"`
	Start          int     `json:"start,omitempty"`
	Stop           int     `json:"stop,omitempty"`
	StripLeft      bool    `json:"strip_left,omitempty"`
	StripRight     bool    `json:"strip_right,omitempty"`

	CleanText    *bool `json:"clean_text,omitempty"`
	ChineseChars *bool `json:"handle_chinese_chars,omitempty"`
	StripAccents *bool `json:"strip_accents,omitempty"`
	Lowercase    *bool `json:"lowercase,omitempty"`

	Single        []templatePiece           `json:"single,omitempty"`
	SpecialTokens map[string]templateTokens `json:"special_tokens,omitempty"`
	Sep           *namedToken               `json:"sep,omitempty"`
	Cls           *namedToken               `json:"cls,omitempty"`
}

type pattern struct {
	String *string `json:"String,omitempty"`
	Regex  *string `json:"Regex,omitempty"`
}

type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken,omitempty"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence,omitempty"`
}

type templateTokens struct {
	IDs []int64 `json:"ids"`
}

// namedToken is ["[SEP]", 102].
type namedToken struct {
	Name string
	ID   int64
}

func (n *namedToken) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	err := json.Unmarshal(b, &parts)
	if err == nil && len(parts) != 2 {
		err = fmt.Errorf("%d parts, expected a token and its id", len(parts))
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(parts[0], &n.Name), json.Unmarshal(parts[1], &n.ID))
	}
	return err
}

// modelFile is the model of tokenizer.json: the union of what the kinds have.
type modelFile struct {
	Type         string     `json:"type"`
	Dropout      *float64   `json:"dropout,omitempty"`
	UnkToken     *string    `json:"unk_token,omitempty"`
	UnkID        *int64     `json:"unk_id,omitempty"`
	FuseUnk      bool       `json:"fuse_unk,omitempty"`
	ByteFallback bool       `json:"byte_fallback,omitempty"`
	IgnoreMerges bool       `json:"ignore_merges,omitempty"`
	Vocab        vocabulary `json:"vocab"`
	Merges       []rule     `json:"merges,omitempty"`

	ContinuingSubwordPrefix *string `json:"continuing_subword_prefix,omitempty"`
	EndOfWordSuffix         *string `json:"end_of_word_suffix,omitempty"`
	MaxInputChars           int     `json:"max_input_chars_per_word,omitempty"`

	scores []float64 // of a Unigram, by id
}

// UnmarshalJSON reads the vocabulary as an object of ids, or as a Unigram has it, a
// list of tokens with their scores.
func (m *modelFile) UnmarshalJSON(b []byte) error {
	type plain modelFile
	var f struct {
		plain
		Vocab json.RawMessage `json:"vocab"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*m = modelFile(f.plain)
	if len(f.Vocab) > 0 && f.Vocab[0] == '[' {
		var list []scored
		if err := json.Unmarshal(f.Vocab, &list); err != nil {
			return err
		}
		m.Vocab = make(vocabulary, len(list))
		for i, s := range list {
			if _, twice := m.Vocab[s.token]; twice {
				return fmt.Errorf("the token %q is in the vocabulary twice", s.token)
			}
			m.Vocab[s.token] = int64(i)
			m.scores = append(m.scores, s.score)
		}
		return nil
	}
	return json.Unmarshal(f.Vocab, (*map[string]int64)(&m.Vocab))
}

type scored struct {
	token string
	score float64
}

func (s *scored) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	err := json.Unmarshal(b, &parts)
	if err == nil && len(parts) != 2 {
		err = fmt.Errorf("%d parts, expected a token and its score", len(parts))
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(parts[0], &s.token), json.Unmarshal(parts[1], &s.score))
	}
	return err
}

// vocabulary is tokens with their ids, written in the order of the ids.
type vocabulary map[string]int64

func (v vocabulary) MarshalJSON() ([]byte, error) {
	tokens := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return cmp.Or(cmp.Compare(v[a], v[b]), cmp.Compare(a, b)) })
	var b bytes.Buffer
	b.WriteByte('{')
	for i, t := range tokens {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := plainJSON(t)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:%d", key, v[t])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plainJSON writes < and > as they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// rule is a merge: "a b" or, as newer files have it, ["a", "b"].
type rule [2]string

func (r *rule) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var parts []string
		if err := json.Unmarshal(b, &parts); err != nil {
			return err
		}
		if len(parts) != 2 {
			return fmt.Errorf("a merge of %d tokens, expected 2", len(parts))
		}
		*r = rule(parts)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	left, right, ok := strings.Cut(s, " ")
	if !ok || strings.Contains(right, " ") {
		return fmt.Errorf("the merge %q, expected two tokens with a space between them", s)
	}
	*r = rule{left, right}
	return nil
}

// MarshalJSON writes the form that all versions read, where that is possible.
func (r rule) MarshalJSON() ([]byte, error) {
	if strings.Contains(r[0], " ") || strings.Contains(r[1], " ") {
		return plainJSON([]string{r[0], r[1]})
	}
	return plainJSON(r[0] + " " + r[1])
}

// byteLevelFile is a tokenizer in the manner of GPT-2, its vocabulary still empty.
func byteLevelFile() *file {
	no, yes := false, true
	level := &step{Type: "ByteLevel", AddPrefixSpace: &no, TrimOffsets: &yes, UseRegex: &yes}
	return &file{Version: "1.0", PreTokenizer: level, Decoder: level, Model: modelFile{Type: "BPE", Vocab: vocabulary{}}}
}

// parsePipeline reads a tokenizer.json.
func parsePipeline(text []byte) (*Pipeline, error) {
	f := new(file)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for _, c := range []struct {
		name string
		of   json.RawMessage
	}{{"truncation", f.Truncation}, {"padding", f.Padding}} {
		if len(c.of) > 0 && string(c.of) != "null" {
			return nil, fmt.Errorf("tokenizer: %s is not supported: set it to null in the file", c.name)
		}
	}
	raw := new(bytes.Buffer)
	if err := json.Compact(raw, text); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return newPipeline(f, raw.Bytes())
}
