package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/internal/testenv"
)

type refCase struct {
	Text, Decoded string
	IDs           []int64
}

func load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func gpt2(t testing.TB) *Pipeline {
	t.Helper()
	tok, err := Load(testenv.SharedData(t, "tokenizer"))
	if err != nil {
		t.Fatal(err)
	}
	return tok.(*Pipeline)
}

func compare(t *testing.T, name string, tok Tokenizer, cases []refCase) {
	t.Helper()
	for _, c := range cases {
		ids, err := tok.Encode(c.Text)
		if err != nil {
			t.Errorf("%s: %q: %v", name, c.Text, err)
			continue
		}
		if !slices.Equal(ids, c.IDs) {
			t.Errorf("%s: %q is\n     %v\nwant %v", name, c.Text, ids, c.IDs)
		}
		if got := tok.Decode(c.IDs); utf8.ValidString(got) && !strings.Contains(c.Decoded, "\uFFFD") && got != c.Decoded {
			t.Errorf("%s: %v is %q, want %q", name, c.IDs, got, c.Decoded)
		}
		// Token by token it is the same text.
		var b strings.Builder
		s := Stream{Tokenizer: tok}
		for _, id := range c.IDs {
			b.WriteString(s.Push(id))
		}
		b.WriteString(s.Close())
		if got, want := b.String(), strings.ToValidUTF8(tok.Decode(c.IDs), "\uFFFD"); got != want && len(c.IDs) < streamContext {
			t.Errorf("%s: as a stream %v is %q, want %q", name, c.IDs, got, want)
		}
	}
}

// TestGPT2 compares with tiktoken and Hugging Face's tokenizers on GPT-2's own files.
func TestGPT2(t *testing.T) {
	tok := gpt2(t)
	var ref struct{ Cases []refCase }
	load(t, "gpt2.json", &ref)
	if len(ref.Cases) < 80 || tok.Size() != 50257 || tok.Special()["<|endoftext|>"] != 50256 {
		t.Fatalf("%d cases, %d tokens, special %v", len(ref.Cases), tok.Size(), tok.Special())
	}
	compare(t, "gpt2", tok, ref.Cases)
	for _, c := range ref.Cases {
		if got := tok.Decode(c.IDs); got != c.Text {
			t.Errorf("%q came back as %q", c.Text, got)
		}
	}
	for _, bad := range []string{"\xff", "a\xc3", "\xe4\xbd", "x\x80\x80y \xf0\x9f\x98", "\xed\xa0\x80"} {
		ids, err := tok.Encode(bad)
		if got := tok.Decode(ids); err != nil || got != bad {
			t.Errorf("%q, which is no UTF-8, came back as %q, %v", bad, got, err)
		}
	}
	// It is the same after it was saved.
	saved, err := json.Marshal(tok)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(saved)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "gpt2, saved", back, ref.Cases)
	if again, err := json.Marshal(back); err != nil || string(again) != string(saved) {
		t.Errorf("saved again it has %d bytes, and %d before: %v", len(again), len(saved), err)
	}
}

// TestPipelines compares tokenizers of each kind with Hugging Face's tokenizers.
func TestPipelines(t *testing.T) {
	var ref struct {
		Text  string
		Cases []struct {
			Name    string
			JSON    json.RawMessage
			Cases   []refCase
			Special []int64
		}
	}
	load(t, "pipelines.json", &ref)
	if len(ref.Cases) < 15 {
		t.Fatalf("%d tokenizers", len(ref.Cases))
	}
	for _, c := range ref.Cases {
		tok, err := Parse(c.JSON)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		compare(t, c.Name, tok, c.Cases)
		if c.Special != nil {
			if ids, err := tok.(*Pipeline).EncodeSpecial("Hello world"); err != nil || !slices.Equal(ids, c.Special) {
				t.Errorf("%s: with special tokens %v, %v; want %v", c.Name, ids, err, c.Special)
			}
		}
	}

	// Training gives the same tokenizer as theirs.
	var theirs struct {
		Model struct {
			Vocab  map[string]int64
			Merges []rule
		}
	}
	if err := json.Unmarshal(ref.Cases[0].JSON, &theirs); err != nil {
		t.Fatal(err)
	}
	ours, err := TrainBPE(ref.Text, len(theirs.Model.Vocab), "<|endoftext|>")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ours.file.Model.Merges, theirs.Model.Merges) {
		t.Errorf("trained merges are\n     %q\nwant %q", ours.file.Model.Merges, theirs.Model.Merges)
	}
	compare(t, "trained here", ours, ref.Cases[0].Cases)
}

// BenchmarkGPT2 encodes a megabyte of text.
func BenchmarkGPT2(b *testing.B) {
	tok := gpt2(b)
	text, err := os.ReadFile(testenv.SharedData(b, "text", "tinyshakespeare.txt"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tok.Encode(string(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBytesAndChars(t *testing.T) {
	text := "hé, ho!\x00"
	for _, tok := range []Tokenizer{Bytes{}, NewChars(text)} {
		ids, err := tok.Encode(text)
		if err != nil || tok.Decode(ids) != text {
			t.Errorf("%T: %v, %v", tok, ids, err)
		}
		saved, err := json.Marshal(tok)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(saved)
		if err != nil {
			t.Fatalf("%s: %v", saved, err)
		}
		if again, _ := back.Encode(text); !slices.Equal(again, ids) || back.Size() != tok.Size() {
			t.Errorf("%T: %v after saving, %v before", tok, again, ids)
		}
		if got := tok.Decode([]int64{-1, 1 << 40}); got != "\uFFFD\uFFFD" {
			t.Errorf("%T: what is no token is %q", tok, got)
		}
	}
	if _, err := NewChars("ab").Encode("abc"); err == nil || !strings.Contains(err.Error(), `'c' at byte 2`) {
		t.Errorf("got %v", err)
	}
}

func TestCharsByHand(t *testing.T) {
	c := NewChars("hé, ho!")
	if c.Size() != 6 { // space ! , h o é
		t.Errorf("%d tokens", c.Size())
	}
	ids, err := c.Encode("oh é")
	if err != nil || !slices.Equal(ids, []int64{4, 3, 0, 5}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	if s := c.Decode(append(ids, -1, 6)); s != "oh é\ufffd\ufffd" {
		t.Errorf("decoded %q", s)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again Chars
	if err := json.Unmarshal(b, &again); err != nil || again.Size() != 6 || again.Decode(ids) != "oh é" {
		t.Errorf("%s: %v", b, err)
	}
	for _, bad := range []string{`{}`, `{"type":"bpe"}`, `{"type":"characters","vocabulary":"ba"}`, `{"type":"characters","vocabulary":"aa"}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &again); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestRefused holds files that are wrong, hostile, or ask for what is not there: each
// is refused by name.
func TestRefused(t *testing.T) {
	bpe := func(vocab, merges, more string) string {
		return `{"model": {"type": "BPE", "vocab": {` + vocab + `}, "merges": [` + merges + `]}` + more + `}`
	}
	nested := strings.Repeat(`{"type": "Sequence", "normalizers": [`, 200) + `{"type": "NFC"}` + strings.Repeat("]}", 200)
	for _, c := range []struct{ text, want string }{
		{"", "not JSON"},
		{"[1]", "not JSON"},
		{"{}", `no "model"`},
		{`{"type": "characters", "vocabulary": "ba"}`, "not sorted"},
		{`{"model": {"type": "Magic", "vocab": {"a": 0}}}`, `model "Magic" is not supported`},
		{bpe("", "", ""), "empty"},
		{bpe(`"a": 0, "b": 0`, "", ""), "the same id, 0"},
		{bpe(`"a": 0, "b": 99999999999`, "", ""), "the id of"},
		{bpe(`"a": -1`, "", ""), "the id of"},
		{bpe(`"": 0, "a": 1`, `["", "a"]`, ""), "empty would be merged without end"},
		{bpe(`"a": 0, "b": 1`, `"a b"`, ""), `"ab" is not in the vocabulary`},
		{bpe(`"a": 0, "ab": 1`, `"a b"`, ""), `"b" is not in the vocabulary`},
		{bpe(`"a": 0`, `"a b c"`, ""), "two tokens with a space"},
		{bpe(`"a": 0`, `["a"]`, ""), "a merge of 1 tokens"},
		{bpe(`"`+strings.Repeat("a", 5000)+`": 0`, "", ""), "has 5000 bytes"},
		{bpe(`"a": 0`, "", `, "normalizer": {"type": "Precompiled"}`), `normalizer "Precompiled" is not supported`},
		{bpe(`"a": 0`, "", `, "normalizer": `+nested), "more than 16 deep"},
		{bpe(`"a": 0`, "", `, "normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}`), "is empty"},
		{bpe(`"a": 0`, "", `, "pre_tokenizer": {"type": "UnicodeScripts"}`), `pre-tokenizer "UnicodeScripts" is not supported`},
		{bpe(`"a": 0`, "", `, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?<=a)b"}, "behavior": "Isolated"}`), `(?<=a)b`},
		{bpe(`"a": 0`, "", `, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a*"}, "behavior": "Isolated"}`), "is not supported"},
		{bpe(`"a": 0`, "", `, "decoder": {"type": "CTC"}`), `decoder "CTC" is not supported`},
		{bpe(`"a": 0`, "", `, "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "x"}}]}`), `"x", which is not among`},
		{bpe(`"a": 0`, "", `, "truncation": {"max_length": 512}`), "truncation is not supported"},
		{bpe(`"a": 0`, "", `, "added_tokens": [{"id": 7, "content": ""}]`), "is empty"},
		{`{"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]"}}`, `"[UNK]", is not in the vocabulary`},
		{`{"model": {"type": "Unigram", "vocab": [["a", -1], ["a", -2]]}}`, "twice"},
		{`{"model": {"type": "Unigram", "vocab": [["a", -1]], "unk_id": 3}}`, "unk_id is 3"},
		{`{"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}}`, "dropout 0.1"},
	} {
		tok, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n     got %v, %v\nexpected %s", shortenTo(c.text, 200), tok, err, c.want)
		}
	}
	// Growth without end is refused when it happens.
	tok, err := Parse([]byte(bpe(`"a": 0`, "", `, "normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "`+strings.Repeat("a", 1<<16)+`"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Encode(strings.Repeat("a", 1<<16)); err == nil || !strings.Contains(err.Error(), "as long") {
		t.Errorf("got %v", err)
	}
}

// A piece may be a whole text: time must not grow with its square, and the ids are
// those of the plain method.
func TestLongPieces(t *testing.T) {
	tok, err := TrainBPE(strings.Repeat("abab abba aab b ", 50), 300)
	if err != nil {
		t.Fatal(err)
	}
	m := tok.model.(*bpe)
	text := strings.Repeat("abbaabab", 1<<16)
	ids, err := tok.Encode(text)
	if err != nil || tok.Decode(ids) != text {
		t.Fatalf("half a megabyte without a space did not come back: %v", err)
	}
	for n := 41; n < 300; n += 7 {
		long := make([]int32, n)
		for i := range long {
			long[i] = m.bytes["ab"[i*i%7%2]]
		}
		// The rule itself: the pair of lowest rank, the leftmost of equals.
		plain := slices.Clone(long)
		for {
			at, best := -1, merge{}
			for i := 1; i < len(plain); i++ {
				if r, ok := m.merges[pair{plain[i-1], plain[i]}]; ok && (at < 0 || r.rank < best.rank) {
					at, best = i-1, r
				}
			}
			if at < 0 {
				break
			}
			plain[at] = best.token
			plain = slices.Delete(plain, at+1, at+2)
		}
		if got := m.merge(slices.Clone(long)); !slices.Equal(got, plain) {
			t.Fatalf("%d symbols become\n     %v\nwant %v", n, got, plain)
		}
	}
}

func FuzzParse(f *testing.F) {
	var ref struct {
		Cases []struct{ JSON json.RawMessage }
	}
	load(f, "pipelines.json", &ref)
	for _, c := range ref.Cases {
		if len(c.JSON) < 8000 {
			f.Add([]byte(c.JSON), "Hello, wörld's <unk> 123")
		}
	}
	f.Add([]byte(`{"type": "characters", "vocabulary": "ab"}`), "ab")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := Parse(file)
		if err != nil {
			return
		}
		ids, err := tok.Encode(text)
		if err != nil {
			return
		}
		for _, id := range ids {
			if id < 0 || id >= int64(tok.Size()) {
				t.Fatalf("id %d of %d", id, tok.Size())
			}
		}
		tok.Decode(ids)
		if saved, err := json.Marshal(tok); err != nil {
			t.Fatal(err)
		} else if _, err := Parse(saved); err != nil {
			t.Fatalf("what was saved cannot be read: %v", err)
		}
	})
}

// FuzzRoundTrip holds that byte-level tokenizers lose nothing, and that a text cut by
// the patterns is all there.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"Hello  world's 12345", "\xff\xfe", " \n\r\n x", "'S'ſ", "a\u0301"} {
		f.Add(s)
	}
	tok, err := TrainBPE("Hello world, hello again; it's 12345.", 280)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids, err := tok.Encode(s)
		if err != nil || tok.Decode(ids) != s {
			t.Fatalf("%q came back as %q, %v", s, tok.Decode(ids), err)
		}
		for _, scan := range scanners {
			for rest := s; rest != ""; {
				n := scan(rest)
				if n < 1 || n > len(rest) {
					t.Fatalf("a piece of %d bytes of %q", n, rest)
				}
				rest = rest[n:]
			}
		}
	})
}
