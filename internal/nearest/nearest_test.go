package nearest

import (
	"slices"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"größe", "grösse", 2}} {
		if got := Distance(c.a, c.b); got != c.want || Distance(c.b, c.a) != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	zones := []string{"Europe/Paris", "Europe/Prague", "Europe/London", "Asia/Tokyo", "UTC"}
	for _, c := range []struct {
		name string
		n    int
		want []string
	}{
		{"Paris", 3, []string{"Europe/Paris"}},
		{"europe/pariss", 1, []string{"Europe/Paris"}},
		{"Tokio", 3, []string{"Asia/Tokyo"}},
		{"utc", 1, []string{"UTC"}},
		{"nowhere at all", 3, nil},
		{"", 3, nil},
	} {
		if got := Names(c.name, zones, c.n); !slices.Equal(got, c.want) {
			t.Errorf("Names(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	cards := []string{"h100-sxm", "h100-pcie", "h200", "a100-80gb", "cpu", "all"}
	if got := Names("h1000", cards, 2); !slices.Equal(got, []string{"h100-sxm", "h100-pcie"}) {
		t.Errorf("h1000 is like %q", got)
	}
}
