package tokenizer

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// wordPiece writes a word as the longest token that it begins with, then the rest in
// the same way, by tokens with a prefix: Devlin et al., "BERT", 2018.
type wordPiece struct {
	ids      map[string]int64
	prefix   string
	unk      int64
	maxChars int
	longest  int // bytes of the longest token
}

func newWordPiece(f *modelFile) (*wordPiece, error) {
	m := &wordPiece{ids: f.Vocab, prefix: "##", maxChars: f.MaxInputChars}
	if f.ContinuingSubwordPrefix != nil {
		m.prefix = *f.ContinuingSubwordPrefix
	}
	if m.maxChars == 0 {
		m.maxChars = 100
	}
	var err error
	if m.unk, err = unknown(f, "[UNK]"); err != nil {
		return nil, err
	}
	for t := range f.Vocab {
		m.longest = max(m.longest, len(t))
	}
	return m, nil
}

// unknown is the id of the token for unknown text.
func unknown(f *modelFile, usual string) (int64, error) {
	name := usual
	if f.UnkToken != nil {
		name = *f.UnkToken
	}
	id, ok := f.Vocab[name]
	if !ok {
		return 0, fmt.Errorf("tokenizer: the token for unknown text, %q, is not in the vocabulary", name)
	}
	return id, nil
}

func (m *wordPiece) encode(dst []int64, word string) ([]int64, error) {
	if utf8.RuneCountInString(word) > m.maxChars {
		return append(dst, m.unk), nil
	}
	had := len(dst)
	prefix := ""
	for at := 0; at < len(word); {
		end := min(len(word), at+m.longest)
		for end > at && end < len(word) && !utf8.RuneStart(word[end]) {
			end--
		}
		found := false
		for end > at {
			if id, ok := m.ids[prefix+word[at:end]]; ok {
				dst, at, found = append(dst, id), end, true
				break
			}
			_, n := utf8.DecodeLastRuneInString(word[at:end])
			end -= n
		}
		if !found {
			return append(dst[:had], m.unk), nil
		}
		prefix = m.prefix
	}
	return dst, nil
}

// wordLevel has a token for each word.
type wordLevel struct {
	ids map[string]int64
	unk int64
}

func newWordLevel(f *modelFile) (*wordLevel, error) {
	unk, err := unknown(f, "<unk>")
	return &wordLevel{f.Vocab, unk}, err
}

func (m *wordLevel) encode(dst []int64, word string) ([]int64, error) {
	id, ok := m.ids[word]
	if !ok {
		id = m.unk
	}
	return append(dst, id), nil
}

// unigram writes a text as the tokens of the largest product of probabilities: Kudo,
// "Subword regularization", 2018. Scores are their logarithms.
type unigram struct {
	ids      map[string]int64
	scores   []float64
	unk      int64 // -1: there is none
	penalty  float64
	fallback *[256]int32
	longest  int
}

// unknownPenalty is by how much a character that is in no token is less likely than
// the least likely token.
const unknownPenalty = 10

func newUnigram(f *modelFile) (*unigram, error) {
	if f.scores == nil {
		return nil, fmt.Errorf("tokenizer: the vocabulary of a Unigram has no scores; expected a list of tokens with theirs")
	}
	m := &unigram{ids: f.Vocab, scores: f.scores, unk: -1}
	least := math.Inf(1)
	for t, id := range f.Vocab {
		if t == "" {
			return nil, fmt.Errorf("tokenizer: token %d of the Unigram is empty", id)
		}
		s := f.scores[id]
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return nil, fmt.Errorf("tokenizer: the score of %q is %v", t, s)
		}
		least = min(least, s)
		m.longest = max(m.longest, len(t))
	}
	m.penalty = least - unknownPenalty
	if f.UnkID != nil {
		if m.unk = *f.UnkID; m.unk < 0 || m.unk >= int64(len(f.scores)) {
			return nil, fmt.Errorf("tokenizer: unk_id is %d in a vocabulary of %d tokens", m.unk, len(f.scores))
		}
	}
	if f.ByteFallback {
		m.fallback = byteTokens(f.Vocab)
	}
	return m, nil
}

func (m *unigram) encode(dst []int64, piece string) ([]int64, error) {
	// best[i] is the best way to write piece[:i]: its score, the last token and where
	// that begins.
	type way struct {
		score float64
		from  int
		id    int64
	}
	best := make([]way, len(piece)+1)
	for i := range best {
		best[i].from = -1
	}
	best[0].from = 0
	for at := 0; at < len(piece); {
		_, width := utf8.DecodeRuneInString(piece[at:])
		single := false // whether the character alone is a token
		for end := at + width; end <= min(len(piece), at+m.longest); {
			if id, ok := m.ids[piece[at:end]]; ok {
				score := best[at].score + m.scores[id]
				if best[end].from < 0 || score > best[end].score {
					best[end] = way{score, at, id}
				}
				single = single || end == at+width
			}
			if end == len(piece) {
				break
			}
			_, n := utf8.DecodeRuneInString(piece[end:])
			end += n
		}
		if !single {
			if m.unk < 0 {
				return nil, fmt.Errorf("tokenizer: the character %q in %q is not in the vocabulary, which has no token for unknown ones", piece[at:at+width], shorten(piece))
			}
			score := best[at].score + m.penalty
			if end := at + width; best[end].from < 0 || score > best[end].score {
				best[end] = way{score, at, -1}
			}
		}
		at += width
	}
	// Unknown characters side by side are one.
	type token struct {
		text string
		id   int64
	}
	var back []token
	for end := len(piece); end > 0; end = best[end].from {
		w := best[end]
		if n := len(back); w.id < 0 && n > 0 && back[n-1].id < 0 {
			back[n-1].text = piece[w.from : end+len(back[n-1].text)]
			continue
		}
		back = append(back, token{piece[w.from:end], w.id})
	}
	for i := len(back) - 1; i >= 0; i-- {
		t := back[i]
		if t.id >= 0 {
			dst = append(dst, t.id)
			continue
		}
		had := len(dst)
		for k := 0; m.fallback != nil && k < len(t.text); k++ {
			id := m.fallback[t.text[k]]
			if id == noByte {
				dst = dst[:had]
				break
			}
			dst = append(dst, int64(id))
		}
		if len(dst) == had {
			dst = append(dst, m.unk)
		}
	}
	return dst, nil
}
