package peer

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The test's own binary plays the side.
func TestMain(m *testing.M) {
	switch os.Getenv("SINTER_TEST_SIDE") {
	case "counts":
		n := 0
		fmt.Println(n)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			n += len(lines.Text())
			fmt.Println(n)
		}
		fmt.Println(-n)
		os.Exit(0)
	case "fails":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func TestSide(t *testing.T) {
	s, err := Start("side", []string{"SINTER_TEST_SIDE=counts"}, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.Read(&n); err != nil || n != 0 {
		t.Fatalf("ready: %d, %v", n, err)
	}
	for _, want := range []int{3, 6} {
		if err := s.Ask("abc", &n); err != nil || n != want {
			t.Fatalf("%d, %v; want %d", n, err, want)
		}
	}
	if err := s.Finish(&n); err != nil || n != -6 {
		t.Fatalf("the end: %d, %v", n, err)
	}
}

// What a side that ends early wrote to standard error is what the user has to see.
func TestSideFails(t *testing.T) {
	s, err := Start("side", []string{"SINTER_TEST_SIDE=fails"}, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.Read(&n); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("%v", err)
	}
}
