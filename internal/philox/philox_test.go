package philox

import "testing"

// The known answers that the authors publish with Random123 (kat_vectors).
func TestKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		ctr  [4]uint32
		key  Key
		want [4]uint32
	}{
		{[4]uint32{}, Key{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, Key{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, Key{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		var got [4]uint32
		got[0], got[1], got[2], got[3] = Block(c.ctr[0], c.ctr[1], c.ctr[2], c.ctr[3], c.key)
		if got != c.want {
			t.Errorf("Block(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

// A run of elements is the same as its elements one by one, wherever it begins.
func TestWords(t *testing.T) {
	k := NewKey(7, 3)
	var buf [23]uint32
	for _, first := range []uint64{0, 1, 2, 3, 4, 5, 1<<34 - 6} {
		for n := range buf {
			Words(buf[:n], first, 9, k)
			for i, w := range buf[:n] {
				if want := Word(first+uint64(i), 9, k); w != want {
					t.Fatalf("Words from %d: element %d is %#x, want %#x", first, i, w, want)
				}
			}
		}
	}
}

// Neighbouring seeds and sites have unrelated keys.
func TestNewKey(t *testing.T) {
	seen := map[Key]bool{}
	for seed := range uint64(64) {
		for site := range uint64(64) {
			k := NewKey(seed, site)
			if seen[k] {
				t.Fatalf("the key of seed %d, site %d occurs twice", seed, site)
			}
			seen[k] = true
		}
	}
}

func BenchmarkWords(b *testing.B) {
	buf := make([]uint32, 4096)
	b.SetBytes(int64(4 * len(buf)))
	for b.Loop() {
		Words(buf, 0, 1, Key{1, 2})
	}
}
