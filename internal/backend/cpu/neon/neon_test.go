package neon

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// Every instruction means to the disassembler of binutils what its comment says.
func TestDisassembler(t *testing.T) {
	tool, err := exec.LookPath("aarch64-linux-gnu-objdump")
	testenv.Require(t, "objdump", err == nil, "there is no aarch64-linux-gnu-objdump of binutils")
	r := rand.New(rand.NewPCG(1, 2))
	var code []byte
	var want []string
	for op := Op(1); op < opCount; op++ {
		for range 20 {
			regs := []int{r.IntN(32), r.IntN(31), r.IntN(32)}
			if s := table[op].shape; s != three && s != element {
				regs = regs[1:]
			}
			c := 0
			switch table[op].shape {
			case left:
				c = r.IntN(32)
			case right:
				c = 1 + r.IntN(31)
			case ext:
				c = r.IntN(16)
			case element:
				c = r.IntN(4)
			case memory:
				c = r.IntN(4096) * table[op].unit
			}
			word, text, err := encode(op, c, regs)
			if err != nil {
				t.Fatal(err)
			}
			code = binary.LittleEndian.AppendUint32(code, word)
			want = append(want, text)
		}
	}
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-D", "-b", "binary", "-m", "aarch64", "--no-show-raw-insn", file).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump: %v\n%s", err, out)
	}
	i := 0
	for _, l := range strings.Split(string(out), "\n") {
		_, text, ok := strings.Cut(l, ":\t")
		if !ok {
			continue
		}
		got := strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "{ ", "{")
		got = strings.ReplaceAll(got, " }", "}")
		if i >= len(want) || got != want[i] {
			t.Fatalf("instruction %d is %q, want %q", i, got, want[min(i, len(want)-1)])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d instructions of %d", i, len(want))
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		op   Op
		c    int
		regs []int
	}{
		{FADD, 0, []int{1, 2}}, {FADD, 0, []int{1, 2, 32}}, {FABS, 0, []int{1, 2, 3}}, {SHL, 32, []int{1, 2}}, {USHR, 0, []int{1, 2}},
		{FMLAE, 4, []int{1, 2, 3}}, {LDRQ, 8, []int{1, 2}}, {LDRQ, 16 * 4096, []int{1, 2}}, {LDRS, -4, []int{1, 2}}, {LD1R, 4, []int{1, 2}},
	} {
		if word, _, err := encode(c.op, c.c, c.regs); err == nil {
			t.Errorf("%s %d %v is encoded as %#x", table[c.op].name, c.c, c.regs, word)
		}
	}
}
