package tokenizer

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxGrowth is how many times as long as the text its normalised form may be.
const maxGrowth = 64

var errGrowth = fmt.Errorf("tokenizer: a normalizer makes the text more than %d times as long", maxGrowth)

// normalizers are the steps that change a text before it is cut.
func normalizers(s step, depth int) ([]normalizer, error) {
	if depth > maxDepth {
		return nil, errors.New("tokenizer: normalizers within each other, more than 16 deep")
	}
	one := func(f func(string) string) ([]normalizer, error) {
		return []normalizer{func(s string) (string, error) { return f(s), nil }}, nil
	}
	switch s.Type {
	case "Sequence":
		var all []normalizer
		for _, part := range s.Normalizers {
			n, err := normalizers(part, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "NFC":
		return one(norm.NFC.String)
	case "NFD":
		return one(norm.NFD.String)
	case "NFKC":
		return one(norm.NFKC.String)
	case "NFKD":
		return one(norm.NFKD.String)
	case "Lowercase":
		return one(lower)
	case "StripAccents":
		return one(stripMarks)
	case "Prepend":
		return one(func(t string) string {
			if t == "" {
				return t
			}
			return s.Prepend + t
		})
	case "Strip":
		return one(func(t string) string {
			if s.StripLeft {
				t = strings.TrimLeftFunc(t, isWhite)
			}
			if s.StripRight {
				t = strings.TrimRightFunc(t, isWhite)
			}
			return t
		})
	case "Replace":
		find, err := s.finder()
		if err != nil {
			return nil, err
		}
		return []normalizer{func(t string) (string, error) { return replace(t, find, s.Content) }}, nil
	case "BertNormalizer":
		// Absent accents follow case; the others are on.
		low := s.Lowercase == nil || *s.Lowercase
		accents := low
		if s.StripAccents != nil {
			accents = *s.StripAccents
		}
		clean, chinese := s.CleanText == nil || *s.CleanText, s.ChineseChars == nil || *s.ChineseChars
		return one(func(t string) string {
			if clean {
				t = strings.Map(cleanRune, t)
			}
			if chinese {
				t = spaceChinese(t)
			}
			if accents {
				t = stripMarks(norm.NFD.String(t))
			}
			if low {
				t = lower(t)
			}
			return t
		})
	}
	return nil, fmt.Errorf("tokenizer: the normalizer %q is not supported", s.Type)
}

func isWhite(r rune) bool { return unicode.Is(unicode.White_Space, r) }

func stripMarks(t string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, t)
}

// lower maps each character by itself; of all it is only İ that becomes two.
func lower(t string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, t), "İ", "i\u0307")
}

// cleanRune drops control characters and makes white space a space.
func cleanRune(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs):
		return -1
	case isWhite(r):
		return ' '
	}
	return r
}

// spaceChinese puts spaces around ideographs (the ranges of BERT's tokenizer).
func spaceChinese(t string) string {
	var b strings.Builder
	for _, r := range t {
		if 0x4E00 <= r && r <= 0x9FFF || 0x3400 <= r && r <= 0x4DBF || 0xF900 <= r && r <= 0xFAFF ||
			0x20000 <= r && r <= 0x2A6DF || 0x2A700 <= r && r <= 0x2CEAF || 0x2F800 <= r && r <= 0x2FA1F {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A finder gives the first place of a pattern in a text; start is -1 where there is
// none.
type finder func(t string) (start, end int)

// finder is that of the step's pattern.
func (s step) finder() (finder, error) {
	switch p := s.Pattern; {
	case p == nil:
		return nil, fmt.Errorf("tokenizer: %s has no pattern", s.Type)
	case p.String != nil:
		text := *p.String
		if text == "" {
			return nil, fmt.Errorf("tokenizer: the pattern of %s is empty", s.Type)
		}
		return func(t string) (int, int) {
			i := strings.Index(t, text)
			return i, i + len(text)
		}, nil
	case p.Regex != nil:
		if scan := scanners[*p.Regex]; scan != nil { // matches everywhere
			return func(t string) (int, int) {
				if t == "" {
					return -1, -1
				}
				return 0, scan(t)
			}, nil
		}
		// Go's regexp finds the same matches as others do, but knows no lookaround, and
		// takes \s, \w, \d and \b, and cases, for ASCII only.
		source := *p.Regex
		re, err := regexp.Compile(whiteSpace.Replace(source))
		if err != nil || notHere.MatchString(source) || inBrackets(source) || re.MatchString("") {
			return nil, fmt.Errorf("tokenizer: the pattern %q of %s is not supported", shortenTo(source, 200), s.Type)
		}
		return func(t string) (int, int) {
			m := re.FindStringIndex(t)
			if m == nil {
				return -1, -1
			}
			return m[0], m[1]
		}, nil
	}
	return nil, fmt.Errorf("tokenizer: the pattern of %s is neither a String nor a Regex", s.Type)
}

// notHere is what Go's regexp takes for something else, or what means something else
// at the beginning of the rest of a text.
var notHere = regexp.MustCompile(`\\[bBwWAzZG]|\(\?[a-zA-Z-]*m|&&|^\^|[(|]\^`)

// whiteSpace writes what Unicode means by \s and \d, which Go takes for ASCII.
var whiteSpace = strings.NewReplacer(`\\`, `\\`, `\s`, `[\t-\r\x{85}\p{Z}]`, `\d`, `\p{Nd}`, `\S`, `[^\t-\r\x{85}\p{Z}]`, `\D`, `\P{Nd}`)

// inBrackets tells whether \s or one of its kind stands in a class, where it cannot be
// replaced by one.
func inBrackets(source string) bool {
	open := false
	for i := 0; i < len(source); i++ {
		switch source[i] {
		case '\\':
			i++
			if open && i < len(source) && strings.IndexByte("sSdD", source[i]) >= 0 {
				return true
			}
		case '[':
			open = true
		case ']':
			open = false
		}
	}
	return false
}

func shortenTo(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

func replace(t string, find finder, with string) (string, error) {
	var b strings.Builder
	limit := maxGrowth*len(t) + 1<<16
	for {
		start, end := find(t)
		if start < 0 {
			b.WriteString(t)
			return b.String(), nil
		}
		b.WriteString(t[:start])
		b.WriteString(with)
		if b.Len() > limit {
			return "", errGrowth
		}
		t = t[end:]
	}
}

// splitters are the steps that cut a text into pieces. byteLevel tells that the model
// gets bytes and not characters.
func splitters(s step, depth int) (split splitter, byteLevel bool, err error) {
	if depth > maxDepth {
		return nil, false, errors.New("tokenizer: pre-tokenizers within each other, more than 16 deep")
	}
	switch s.Type {
	case "Sequence":
		for _, part := range s.Pretokenizers {
			if byteLevel {
				return nil, false, fmt.Errorf("tokenizer: the pre-tokenizer %q after ByteLevel is not supported", part.Type)
			}
			var next splitter
			if next, byteLevel, err = splitters(part, depth+1); err != nil {
				return nil, false, err
			}
			split = chain(split, next)
		}
		return split, byteLevel, nil
	case "ByteLevel":
		if s.UseRegex == nil || *s.UseRegex {
			split = scanning(scanGPT2)
		}
		if s.AddPrefixSpace == nil || *s.AddPrefixSpace {
			split = chain(func(piece string, first bool, yield func(string, bool)) {
				if !strings.HasPrefix(piece, " ") {
					piece = " " + piece
				}
				yield(piece, first)
			}, split)
		}
		return split, true, nil
	case "BertPreTokenizer":
		return chain(cutting(runes(isWhite), removed), cutting(runes(isPunctuation), isolated)), false, nil
	case "WhitespaceSplit":
		return cutting(runes(isWhite), removed), false, nil
	case "Whitespace": // \w+|[^\w\s]+
		return func(piece string, first bool, yield func(string, bool)) {
			kind := func(r rune) int {
				switch {
				case isWord(r):
					return 1
				case isWhite(r):
					return 0
				}
				return 2
			}
			start, was := 0, 0
			for i, r := range piece {
				if k := kind(r); k != was {
					if was != 0 {
						yield(piece[start:i], first && start == 0)
					}
					start, was = i, k
				}
			}
			if was != 0 {
				yield(piece[start:], first && start == 0)
			}
		}, false, nil
	case "Punctuation":
		b, err := behaviour(s.Behavior, "Isolated")
		return cutting(runes(isPunctuation), b), false, err
	case "Digits":
		b := contiguous
		if s.Individual {
			b = isolated
		}
		return cutting(runes(unicode.IsNumber), b), false, nil
	case "Split":
		find, err := s.finder()
		if err != nil {
			return nil, false, err
		}
		if s.Invert {
			find = inverted(find)
		}
		b, err := behaviour(s.Behavior, "")
		if s.Pattern.Regex != nil && !s.Invert && b == isolated {
			if scan := scanners[*s.Pattern.Regex]; scan != nil {
				return scanning(scan), false, err
			}
		}
		return cutting(find, b), false, err
	case "Metaspace":
		return metaspace(s)
	}
	return nil, false, fmt.Errorf("tokenizer: the pre-tokenizer %q is not supported", s.Type)
}

func chain(a, b splitter) splitter {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(piece string, first bool, yield func(string, bool)) {
		a(piece, first, func(p string, f bool) { b(p, f, yield) })
	}
}

// scanning cuts a text by a scanner.
func scanning(scan scanner) splitter {
	return func(piece string, first bool, yield func(string, bool)) {
		for len(piece) > 0 {
			n := scan(piece)
			yield(piece[:n], first)
			piece, first = piece[n:], false
		}
	}
}

// runes finds single characters.
func runes(is func(rune) bool) finder {
	return func(t string) (int, int) {
		for i, r := range t {
			if is(r) {
				_, n := utf8.DecodeRuneInString(t[i:])
				return i, i + n
			}
		}
		return -1, -1
	}
}

// inverted finds what lies between the places of another.
func inverted(find finder) finder {
	return func(t string) (int, int) {
		for at := 0; at < len(t); {
			start, end := find(t[at:])
			switch {
			case start < 0:
				return at, len(t)
			case start > 0:
				return at, at + start
			}
			at += end
		}
		return -1, -1
	}
}

// isPunctuation is that of BERT: of ASCII all that is neither letter, digit, space nor
// control character.
func isPunctuation(r rune) bool {
	return r < 0x80 && (unicode.IsPunct(r) || unicode.IsSymbol(r)) || r >= 0x80 && unicode.IsPunct(r)
}

// What becomes of a place that a pattern was found at.
type behaviourKind int

const (
	removed    behaviourKind = iota
	isolated                 // a piece of its own
	previous                 // the end of the piece before
	next                     // the beginning of the piece after
	contiguous               // places side by side are one piece
)

func behaviour(name, usual string) (behaviourKind, error) {
	if name == "" {
		name = usual
	}
	for k, n := range []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"} {
		if n == name {
			return behaviourKind(k), nil
		}
	}
	return 0, fmt.Errorf("tokenizer: the behavior %q of a pre-tokenizer is not supported", name)
}

// cutting cuts a text at the places of a pattern.
func cutting(find finder, b behaviourKind) splitter {
	return func(piece string, first bool, yield func(string, bool)) {
		start := 0     // of what is not yet given out
		at := 0        // how far was looked
		glued := false // whether piece[start:at] ends in a place, for contiguous ones
		give := func(end int) {
			if end > start {
				yield(piece[start:end], first && start == 0)
			}
			start = end
		}
		for at < len(piece) {
			s, e := find(piece[at:])
			if s < 0 || e == s {
				break
			}
			s, e = at+s, at+e
			switch b {
			case removed:
				give(s)
				start = e
			case isolated:
				give(s)
				give(e)
			case previous:
				give(e)
			case next:
				give(s)
			case contiguous:
				if !glued || s > at {
					give(at)
					give(s)
				}
				glued = true
			}
			at = e
		}
		if b == contiguous {
			give(at)
		}
		give(len(piece))
	}
}

// metaspace writes spaces as ▁ and begins a piece with each.
func metaspace(s step) (splitter, bool, error) {
	mark := s.Replacement
	if utf8.RuneCountInString(mark) != 1 {
		return nil, false, fmt.Errorf("tokenizer: the replacement of Metaspace is %q, expected one character", mark)
	}
	scheme, err := s.scheme()
	if err != nil {
		return nil, false, err
	}
	replaced := func(piece string, first bool, yield func(string, bool)) {
		piece = strings.ReplaceAll(piece, " ", mark)
		if (scheme == "always" || scheme == "first" && first) && !strings.HasPrefix(piece, mark) {
			piece = mark + piece
		}
		yield(piece, first)
	}
	if s.Split != nil && !*s.Split {
		return replaced, false, nil
	}
	return chain(replaced, cutting(func(t string) (int, int) {
		i := strings.Index(t, mark)
		return i, i + len(mark)
	}, next)), false, nil
}

// scheme is when Metaspace puts a ▁ before a text. Old files say it by
// add_prefix_space.
func (s step) scheme() (string, error) {
	switch {
	case s.PrependScheme == "" && s.AddPrefixSpace != nil && !*s.AddPrefixSpace:
		return "never", nil
	case s.PrependScheme == "":
		return "always", nil
	case s.PrependScheme == "always" || s.PrependScheme == "first" || s.PrependScheme == "never":
		return s.PrependScheme, nil
	}
	return "", fmt.Errorf("tokenizer: the prepend_scheme %q of Metaspace is not supported", s.PrependScheme)
}

// decoders are the steps from tokens to text.
func decoders(s step, depth int) ([]decoder, error) {
	if depth > maxDepth {
		return nil, errors.New("tokenizer: decoders within each other, more than 16 deep")
	}
	each := func(f func(i, n int, token string) string) ([]decoder, error) {
		return []decoder{func(tokens []string) []string {
			for i, t := range tokens {
				tokens[i] = f(i, len(tokens), t)
			}
			return tokens
		}}, nil
	}
	switch s.Type {
	case "Sequence":
		var all []decoder
		for _, part := range s.Decoders {
			d, err := decoders(part, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		return all, nil
	case "ByteLevel":
		return each(func(_, _ int, t string) string {
			if raw, ok := fromByteLevel(t); ok {
				return raw
			}
			return t
		})
	case "Fuse":
		return []decoder{func(tokens []string) []string { return []string{strings.Join(tokens, "")} }}, nil
	case "ByteFallback":
		return each(func(_, _ int, t string) string {
			var b byte
			if len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' {
				if _, err := fmt.Sscanf(t[3:5], "%02X", &b); err == nil {
					return string([]byte{b})
				}
			}
			return t
		})
	case "Replace":
		find, err := s.finder()
		if err != nil {
			return nil, err
		}
		return each(func(_, _ int, t string) string {
			r, err := replace(t, find, s.Content)
			if err != nil {
				return t
			}
			return r
		})
	case "Strip":
		if s.Content == "" {
			return nil, errors.New("tokenizer: the decoder Strip has no content")
		}
		return each(func(_, _ int, t string) string {
			for i := 0; i < s.Start && strings.HasPrefix(t, s.Content); i++ {
				t = t[len(s.Content):]
			}
			for i := 0; i < s.Stop && strings.HasSuffix(t, s.Content); i++ {
				t = t[:len(t)-len(s.Content)]
			}
			return t
		})
	case "Metaspace":
		if utf8.RuneCountInString(s.Replacement) != 1 {
			return nil, fmt.Errorf("tokenizer: the replacement of Metaspace is %q, expected one character", s.Replacement)
		}
		scheme, err := s.scheme()
		if err != nil {
			return nil, err
		}
		return each(func(i, _ int, t string) string {
			if i == 0 && scheme != "never" {
				return strings.ReplaceAll(t, s.Replacement, "")
			}
			return strings.ReplaceAll(t, s.Replacement, " ")
		})
	case "WordPiece":
		prefix := s.Prefix
		if prefix == "" {
			prefix = "##"
		}
		return each(func(i, _ int, t string) string {
			if i > 0 {
				if rest, ok := strings.CutPrefix(t, prefix); ok {
					t = rest
				} else {
					t = " " + t
				}
			}
			if s.Cleanup == nil || *s.Cleanup {
				t = cleanup(t)
			}
			return t
		})
	case "BPEDecoder":
		suffix := "</w>"
		if s.Suffix != nil {
			suffix = *s.Suffix
		}
		if suffix == "" {
			return nil, errors.New("tokenizer: the suffix of BPEDecoder is empty")
		}
		return each(func(i, n int, t string) string {
			with := " "
			if i == n-1 {
				with = ""
			}
			return strings.ReplaceAll(t, suffix, with)
		})
	}
	return nil, fmt.Errorf("tokenizer: the decoder %q is not supported", s.Type)
}

// cleanup takes away the spaces that cutting at punctuation has left, one rule after
// the other.
func cleanup(t string) string {
	for _, r := range [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		t = strings.ReplaceAll(t, r[0], r[1])
	}
	return t
}
