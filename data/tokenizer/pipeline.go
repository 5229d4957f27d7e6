package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pipeline is a tokenizer as a tokenizer.json describes it.
//
// Encode finds added tokens, special ones among them, in the text, as Hugging Face's
// tokenizers does, and adds none: see [Pipeline.EncodeSpecial]. Decode leaves special
// tokens in the text (skip_special_tokens=False).
type Pipeline struct {
	plain, late *addedTokens // those found before and after normalising
	normalize   []normalizer
	split       splitter // nil: all in one piece
	model       model
	decode      []decoder
	before      []int64 // what EncodeSpecial puts around a text
	after       []int64

	tokens  []string // by id, in the form of the file
	raw     []string // by id, where decoding is putting bytes together; else nil
	special map[string]int64

	file *file
	text []byte // of the file that was read, without white space; nil if there was none
}

type (
	normalizer func(string) (string, error)
	// A splitter cuts a piece into smaller ones; first tells whether the piece begins
	// the whole text.
	splitter func(piece string, first bool, yield func(piece string, first bool))
	decoder  func(tokens []string) []string
)

// What a file may ask for: steps within steps, ids for which there is no token, and
// bytes of a token.
const (
	maxDepth = 16
	maxHoles = 1 << 16
	maxToken = 4096
)

func newPipeline(f *file, text []byte) (*Pipeline, error) {
	p := &Pipeline{file: f, text: text, special: map[string]int64{}}
	if err := p.number(); err != nil {
		return nil, err
	}
	var err error
	if f.Normalizer != nil {
		if p.normalize, err = normalizers(*f.Normalizer, 0); err != nil {
			return nil, err
		}
	}
	byteLevel := false
	if f.PreTokenizer != nil {
		if p.split, byteLevel, err = splitters(*f.PreTokenizer, 0); err != nil {
			return nil, err
		}
	}
	switch f.Model.Type {
	case "BPE", "": // old files do not say
		p.model, err = newBPE(&f.Model, byteLevel)
	case "WordPiece", "WordLevel", "Unigram":
		if byteLevel {
			return nil, fmt.Errorf("tokenizer: a %s model at byte level is not supported", f.Model.Type)
		}
		switch f.Model.Type {
		case "WordPiece":
			p.model, err = newWordPiece(&f.Model)
		case "WordLevel":
			p.model, err = newWordLevel(&f.Model)
		case "Unigram":
			p.model, err = newUnigram(&f.Model)
		}
	default:
		err = fmt.Errorf("tokenizer: the model %q is not supported; there are BPE, WordPiece, WordLevel and Unigram", f.Model.Type)
	}
	if err != nil {
		return nil, err
	}
	if f.Decoder != nil {
		if p.decode, err = decoders(*f.Decoder, 0); err != nil {
			return nil, err
		}
		if f.Decoder.Type == "ByteLevel" {
			p.raw = make([]string, len(p.tokens))
			for id, t := range p.tokens {
				if raw, ok := fromByteLevel(t); ok {
					t = raw
				}
				p.raw[id] = t
			}
		}
	}
	if f.PostProcessor != nil {
		if err = p.process(*f.PostProcessor, 0); err != nil {
			return nil, err
		}
	}
	return p, p.add()
}

// number checks the ids and fills tokens.
func (p *Pipeline) number() error {
	f := p.file
	entries := len(f.Model.Vocab) + len(f.AddedTokens)
	size := int64(0)
	put := func(token string, id int64) error {
		if len(token) > maxToken {
			return fmt.Errorf("tokenizer: token %d has %d bytes, expected at most %d", id, len(token), maxToken)
		}
		if id < 0 || id >= int64(entries)+maxHoles {
			return fmt.Errorf("tokenizer: the id of %q is %d, in a vocabulary of %d tokens", shorten(token), id, entries)
		}
		for id >= int64(len(p.tokens)) {
			p.tokens = append(p.tokens, "")
		}
		if old := p.tokens[id]; old != "" && old != token {
			return fmt.Errorf("tokenizer: %q and %q have the same id, %d", shorten(old), shorten(token), id)
		}
		p.tokens[id] = token
		size = max(size, id+1)
		return nil
	}
	for token, id := range f.Model.Vocab {
		if err := put(token, id); err != nil {
			return err
		}
	}
	for _, a := range f.AddedTokens {
		if a.Content == "" {
			return fmt.Errorf("tokenizer: the added token %d is empty", a.ID)
		}
		if err := put(a.Content, a.ID); err != nil {
			return err
		}
		if a.Special {
			p.special[a.Content] = a.ID
		}
	}
	if size == 0 {
		return errors.New("tokenizer: the vocabulary is empty")
	}
	return nil
}

// Size is one more than the largest id.
func (p *Pipeline) Size() int { return len(p.tokens) }

// Special are the special tokens.
func (p *Pipeline) Special() map[string]int64 { return p.special }

// Token is the token of an id in the form of the vocabulary, in which byte-level
// tokenizers write a space as Ġ; "" if there is none.
func (p *Pipeline) Token(id int64) string {
	if id < 0 || id >= int64(len(p.tokens)) {
		return ""
	}
	return p.tokens[id]
}

// MarshalJSON gives the tokenizer.json.
func (p *Pipeline) MarshalJSON() ([]byte, error) {
	if p.text != nil {
		return p.text, nil
	}
	return plainJSON(p.file)
}

// Encode gives the tokens of a text.
func (p *Pipeline) Encode(text string) ([]int64, error) {
	e := encoding{p: p, ids: make([]int64, 0, len(text)/3+8), seen: map[string][2]int32{}}
	start := 0
	p.plain.find(text, func(at, end int, id int64) {
		e.normalized(text[start:at], start == 0)
		e.ids = append(e.ids, id)
		start = end
	})
	e.normalized(text[start:], start == 0)
	if e.err != nil {
		return nil, e.err
	}
	return e.ids, nil
}

// EncodeSpecial is Encode with the special tokens around the text that the file's
// post-processor asks for, such as [CLS] and [SEP].
func (p *Pipeline) EncodeSpecial(text string) ([]int64, error) {
	ids, err := p.Encode(text)
	if err != nil {
		return nil, err
	}
	return slices.Concat(p.before, ids, p.after), nil
}

// encoding is one call of Encode.
type encoding struct {
	p    *Pipeline
	ids  []int64
	seen map[string][2]int32 // pieces that were met, with the place of their ids
	err  error
}

// maxSeen is how many pieces are remembered, and of what length.
const (
	maxSeen      = 1 << 17
	maxSeenBytes = 48
)

func (e *encoding) normalized(text string, first bool) {
	if text == "" || e.err != nil {
		return
	}
	for _, n := range e.p.normalize {
		if text, e.err = n(text); e.err != nil {
			return
		}
	}
	start := 0
	e.p.late.find(text, func(at, end int, id int64) {
		e.pieces(text[start:at], first && start == 0)
		e.ids = append(e.ids, id)
		start = end
	})
	e.pieces(text[start:], first && start == 0)
}

func (e *encoding) pieces(text string, first bool) {
	if text == "" {
		return
	}
	if e.p.split == nil {
		e.piece(text, first)
		return
	}
	e.p.split(text, first, e.piece)
}

func (e *encoding) piece(piece string, _ bool) {
	if piece == "" || e.err != nil {
		return
	}
	if at, ok := e.seen[piece]; ok {
		e.ids = append(e.ids, e.ids[at[0]:at[1]]...)
		return
	}
	start := len(e.ids)
	ids, err := e.p.model.encode(e.ids, piece)
	if err != nil {
		e.err = err
		return
	}
	e.ids = ids
	if len(piece) <= maxSeenBytes && len(e.seen) < maxSeen && len(ids) < 1<<31 {
		e.seen[piece] = [2]int32{int32(start), int32(len(ids))}
	}
}

// Decode gives the text of tokens.
func (p *Pipeline) Decode(ids []int64) string {
	if p.raw != nil {
		var b strings.Builder
		for _, id := range ids {
			if id < 0 || id >= int64(len(p.raw)) {
				b.WriteRune(utf8.RuneError)
				continue
			}
			b.WriteString(p.raw[id])
		}
		return b.String()
	}
	tokens := make([]string, len(ids))
	for i, id := range ids {
		tokens[i] = string(utf8.RuneError)
		if id >= 0 && id < int64(len(p.tokens)) {
			tokens[i] = p.tokens[id]
		}
	}
	if p.decode == nil {
		return strings.Join(tokens, " ")
	}
	for _, d := range p.decode {
		tokens = d(tokens)
	}
	return strings.Join(tokens, "")
}

// addedTokens finds tokens in a text, by their first byte.
type addedTokens struct {
	byFirst [256][]addedToken // the longest first
	any     bool
}

// add prepares the search for added tokens.
func (p *Pipeline) add() error {
	p.plain, p.late = new(addedTokens), new(addedTokens)
	for _, t := range p.file.AddedTokens {
		to := p.plain
		if t.Normalized && !t.Special && len(p.normalize) > 0 {
			to = p.late
			for _, n := range p.normalize {
				var err error
				if t.Content, err = n(t.Content); err != nil {
					return err
				}
			}
			if t.Content == "" {
				continue // never found
			}
		}
		b := t.Content[0]
		to.byFirst[b] = append(to.byFirst[b], t)
		to.any = true
	}
	for _, a := range []*addedTokens{p.plain, p.late} {
		for _, list := range a.byFirst {
			slices.SortStableFunc(list, func(x, y addedToken) int { return len(y.Content) - len(x.Content) })
		}
	}
	return nil
}

// find gives the places of added tokens from left to right.
func (a *addedTokens) find(text string, found func(at, end int, id int64)) {
	if !a.any {
		return
	}
	from := 0 // where the last token ended
	for i := 0; i < len(text); i++ {
		for _, t := range a.byFirst[text[i]] {
			if !strings.HasPrefix(text[i:], t.Content) {
				continue
			}
			at, end := i, i+len(t.Content)
			if t.SingleWord && (wordEnds(text[:at]) || wordBegins(text[end:])) {
				continue
			}
			if t.LStrip {
				at = from + len(strings.TrimRightFunc(text[from:at], isWhite))
			}
			if t.RStrip {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], isWhite))
			}
			found(at, end, t.ID)
			from, i = end, end-1
			break
		}
	}
}

func wordEnds(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func wordBegins(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w as Unicode defines it.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic) || r == '\u200c' || r == '\u200d'
}

// process sets what EncodeSpecial puts around a text.
func (p *Pipeline) process(s step, depth int) error {
	if depth > maxDepth {
		return errors.New("tokenizer: post-processors within each other, more than 16 deep")
	}
	around := func(before, after []int64) {
		p.before = slices.Concat(before, p.before)
		p.after = slices.Concat(p.after, after)
	}
	switch s.Type {
	case "ByteLevel": // only moves the places of tokens in the text, which are not given
		return nil
	case "Sequence":
		for _, part := range s.Processors {
			if err := p.process(part, depth+1); err != nil {
				return err
			}
		}
		return nil
	case "BertProcessing", "RobertaProcessing":
		if s.Cls == nil || s.Sep == nil {
			return fmt.Errorf("tokenizer: the post-processor %s has no cls and sep", s.Type)
		}
		if err := p.known(s.Cls.ID, s.Sep.ID); err != nil {
			return err
		}
		around([]int64{s.Cls.ID}, []int64{s.Sep.ID})
		return nil
	case "TemplateProcessing":
		var before, after []int64
		texts := 0
		for _, piece := range s.Single {
			if piece.Sequence != nil {
				texts++
				continue
			}
			if piece.SpecialToken == nil {
				return errors.New("tokenizer: the template has a piece that is neither a text nor a special token")
			}
			tokens, ok := s.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("tokenizer: the template has the special token %q, which is not among its special_tokens", piece.SpecialToken.ID)
			}
			if err := p.known(tokens.IDs...); err != nil {
				return err
			}
			if texts == 0 {
				before = append(before, tokens.IDs...)
			} else {
				after = append(after, tokens.IDs...)
			}
		}
		if texts != 1 {
			return fmt.Errorf("tokenizer: the template for a single text has it %d times, expected once", texts)
		}
		around(before, after)
		return nil
	}
	return fmt.Errorf("tokenizer: the post-processor %q is not supported", s.Type)
}

// known refuses ids that are no tokens.
func (p *Pipeline) known(ids ...int64) error {
	for _, id := range ids {
		if p.Token(id) == "" {
			return fmt.Errorf("tokenizer: the post-processor adds the token %d, which is not in the vocabulary", id)
		}
	}
	return nil
}

var _ json.Marshaler = (*Pipeline)(nil)
