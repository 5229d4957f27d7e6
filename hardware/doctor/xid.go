package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Xid is the number of an error that NVIDIA's driver reports in the kernel's log. NVML tells
// of one only to who listens when it happens, so what happened before is read from the log.

// xid is what NVIDIA's document "Xid Errors" says of a number, in short.
type xid struct {
	means   string
	remedy  string
	verdict Verdict
}

const (
	reset  = "nothing may use the card: nvidia-smi --gpu-reset -i NUMBER; or restart the machine"
	ofUser = "it is an error of the program that ran, as a rule: look at that one first; if many programs have it, test the card with dcgmi diag -r 3"
	rma    = "if it comes again after a reset, have the card replaced"
)

var xids = map[int]xid{
	13:  {"a program made the card compute with an illegal address or instruction", ofUser, Warning},
	31:  {"a program read or wrote memory that it does not have", ofUser, Warning},
	32:  {"the stream of commands was invalid", "update the driver; if it comes again, reseat the card or try another slot, since the PCIe link may corrupt data", Warning},
	38:  {"the driver's firmware failed", "update the driver", Warning},
	43:  {"the card stopped a program that made an error; the card itself is fit", ofUser, Warning},
	45:  {"a program was ended, by a user or after another error", "look at the error before it, if there is one", OK},
	48:  {"two bits of the card's memory were wrong at once, which cannot be corrected", reset + "; " + rma, Failure},
	61:  {"the card's own controller stopped", reset + "; update the driver", Failure},
	62:  {"the card's own controller halted", reset + "; update the driver", Failure},
	63:  {"a bad row of memory was marked, to be replaced by a spare one", "a reset puts the spare row to use: " + reset, Warning},
	64:  {"a bad row of memory could not be replaced by a spare one", reset + "; " + rma, Failure},
	69:  {"a program gave the card a command that its class does not have", ofUser, Warning},
	74:  {"NVLink had an error", "look at nvidia-smi nvlink -e; reseat the bridge or module; " + rma, Failure},
	79:  {"the card has fallen off the bus: it does not answer any more", "restart the machine; then look for the cause: power cables and supply, temperature, the seat in its slot, and pcie_aspm=off on the kernel's command line", Failure},
	92:  {"many single bits of the card's memory had to be corrected", "watch the card; " + rma, Warning},
	94:  {"an error of the card's memory that was contained: it ended one program", "start that program again, from its last checkpoint; reset the card when nothing runs: " + reset, Warning},
	95:  {"an error of the card's memory that was not contained: every program on the card may have got wrong data", "end all programs on the card, then " + reset + "; " + rma, Failure},
	109: {"the card took too long to change between programs", "restart the program; update the driver if it comes again", Warning},
	119: {"the card's system processor (GSP) did not answer the driver", reset + "; update the driver", Failure},
	120: {"the card's system processor (GSP) failed", reset + "; update the driver", Failure},
	140: {"memory had errors that could not be corrected", reset + "; " + rma, Failure},
	143: {"the card could not be started", "restart the machine; update the driver; " + rma, Failure},
	154: {"the driver says that the card has to be recovered", "do what the line in the kernel's log names: reset the card, or restart the machine", Failure},
}

func xidOf(n int) xid {
	if x, ok := xids[n]; ok {
		return x
	}
	return xid{"see NVIDIA's document Xid Errors", "look the number up at docs.nvidia.com/deploy/xid-errors", Warning}
}

// samePCI compares addresses, of which one may have more digits of the domain, and a function.
func samePCI(a, b string) bool {
	simple := func(s string) string {
		s, _, _ = strings.Cut(strings.ToLower(s), ".")
		parts := strings.Split(s, ":")
		for i := range parts {
			parts[i] = strings.TrimLeft(parts[i], "0")
		}
		return strings.Join(parts[max(0, len(parts)-3):], ":")
	}
	return a != "" && simple(a) == simple(b)
}

// count tells numbers and how often each is there: "31 (3 times), 79".
func count(list []int) string {
	var parts []string
	for _, n := range slices.Compact(slices.Sorted(slices.Values(list))) {
		times := 0
		for _, m := range list {
			if m == n {
				times++
			}
		}
		if times == 1 {
			parts = append(parts, strconv.Itoa(n))
		} else {
			parts = append(parts, fmt.Sprintf("%d (%d times)", n, times))
		}
	}
	return strings.Join(parts, ", ")
}
