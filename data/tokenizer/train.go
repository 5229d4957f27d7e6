package tokenizer

import (
	"container/heap"
	"fmt"
	"slices"
)

// MinBPE is the smallest size of a byte-level vocabulary: a token for each byte.
const MinBPE = 256

// maxBPE keeps ids and the memory of training within reason.
const maxBPE = 1 << 22

// TrainBPE learns a byte-level BPE of size tokens from a text: the special tokens
// first, then 256 for bytes, then merges, each of the pair of tokens that stands side
// by side most often in the text as written so far; of equally frequent ones that of
// the lower ids. The text is cut into pieces as GPT-2 does, and no merge crosses one.
// A text that is too short gives fewer tokens.
//
// It is what the trainer of Hugging Face's tokenizers does with a ByteLevel
// pre-tokenizer and its alphabet, and gives the same tokenizer.
func TrainBPE(text string, size int, special ...string) (*Pipeline, error) {
	if least := MinBPE + len(special); size < least || size > maxBPE {
		return nil, fmt.Errorf("tokenizer: a BPE of %d tokens; expected %d, one for each byte and special token, to %d", size, least, maxBPE)
	}
	f := byteLevelFile()
	vocab := f.Model.Vocab
	var tokens []string // by id
	add := func(token string) int32 {
		if id, ok := vocab[token]; ok {
			return int32(id)
		}
		id := len(tokens)
		vocab[token] = int64(id)
		tokens = append(tokens, token)
		return int32(id)
	}
	for _, s := range special {
		if s == "" {
			return nil, fmt.Errorf("tokenizer: a special token is empty")
		}
		if _, twice := vocab[s]; twice {
			return nil, fmt.Errorf("tokenizer: the special token %q is given twice", s)
		}
		f.AddedTokens = append(f.AddedTokens, addedToken{ID: int64(add(s)), Content: s, Special: true})
	}
	alphabet := byteToRune
	slices.Sort(alphabet[:])
	for _, r := range alphabet {
		add(string(r))
	}
	var byteID [256]int32
	for b := range byteID {
		byteID[b] = int32(vocab[string(byteToRune[b])])
	}

	t := trainer{pairs: map[pair]int64{}}
	t.read(text, &byteID)
	for len(tokens) < size && len(t.queue) > 0 {
		top := heap.Pop(&t.queue).(*frequent)
		if now := t.pairs[top.pair]; top.count != now {
			top.count = now
			heap.Push(&t.queue, top)
			continue
		}
		if top.count < 1 {
			break
		}
		left, right := tokens[top.pair.left], tokens[top.pair.right]
		if len(left)+len(right) > maxToken {
			continue
		}
		id := add(left + right)
		f.Model.Merges = append(f.Model.Merges, rule{left, right})
		t.merge(top, id)
	}
	return newPipeline(f, nil)
}

// frequent is a pair with how often it occurs, and in which words.
type frequent struct {
	pair  pair
	count int64
	words []int32
}

// trainer is a text as words, pieces with how often they occur, and its pairs.
type trainer struct {
	words  [][]int32
	counts []int64
	pairs  map[pair]int64
	queue  queue
}

type queue []*frequent

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.count != b.count {
		return a.count > b.count
	}
	if a.pair.left != b.pair.left {
		return a.pair.left < b.pair.left
	}
	return a.pair.right < b.pair.right
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*frequent)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// read counts words and pairs.
func (t *trainer) read(text string, byteID *[256]int32) {
	index := map[string]int32{}
	for len(text) > 0 {
		n := scanGPT2(text)
		word := text[:n]
		text = text[n:]
		if i, ok := index[word]; ok {
			t.counts[i]++
			continue
		}
		index[word] = int32(len(t.words))
		symbols := make([]int32, n)
		for i := range n {
			symbols[i] = byteID[word[i]]
		}
		t.words, t.counts = append(t.words, symbols), append(t.counts, 1)
	}
	where := map[pair]*frequent{}
	for w, symbols := range t.words {
		for i := 1; i < len(symbols); i++ {
			t.found(where, pair{symbols[i-1], symbols[i]}, int32(w))
			t.pairs[pair{symbols[i-1], symbols[i]}] += t.counts[w]
		}
	}
	t.enqueue(where)
}

// found notes that a pair occurs in a word; words come in order.
func (t *trainer) found(where map[pair]*frequent, p pair, word int32) {
	f := where[p]
	if f == nil {
		f = &frequent{pair: p}
		where[p] = f
	}
	if n := len(f.words); n == 0 || f.words[n-1] != word {
		f.words = append(f.words, word)
	}
}

// enqueue adds pairs with their counts. Their order in the map does not matter: the
// queue's is total.
func (t *trainer) enqueue(where map[pair]*frequent) {
	for p, f := range where {
		if f.count = t.pairs[p]; f.count > 0 {
			heap.Push(&t.queue, f)
		}
	}
}

// merge replaces a pair by a token in its words, and counts the pairs that go and
// come.
func (t *trainer) merge(f *frequent, id int32) {
	where := map[pair]*frequent{}
	for _, w := range f.words {
		s, n := t.words[w], t.counts[w]
		out := s[:0]
		for i := 0; i < len(s); i++ {
			if i+1 == len(s) || s[i] != f.pair.left || s[i+1] != f.pair.right {
				out = append(out, s[i])
				continue
			}
			if k := len(out); k > 0 {
				t.pairs[pair{out[k-1], f.pair.left}] -= n
				t.pairs[pair{out[k-1], id}] += n
				t.found(where, pair{out[k-1], id}, w)
			}
			if i+2 < len(s) {
				t.pairs[pair{f.pair.right, s[i+2]}] -= n
				t.pairs[pair{id, s[i+2]}] += n
				t.found(where, pair{id, s[i+2]}, w)
			}
			out = append(out, id)
			i++
		}
		t.words[w] = out
	}
	t.enqueue(where)
}
