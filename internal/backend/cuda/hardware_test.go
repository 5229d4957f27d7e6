package cuda

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// The conformance suite on a card of this machine: the one that SINTER_DEVICE names, or
// the first. The libraries are those that are installed; without them the kernels are all
// ours.
func TestHardware(t *testing.T) {
	name := os.Getenv("SINTER_DEVICE")
	if !strings.HasPrefix(name, "cuda:") {
		name = "cuda:0"
	}
	d, err := standard.Open(name)
	testenv.Require(t, "gpu", err == nil, fmt.Sprint(err))
	l := &d.(*Device).libraries
	t.Logf("cuBLASLt: %v, its rectifier is used: %v; cuDNN: %v", l.products != nil, l.products != nil && l.products.ReLU, l.graphs != nil)
	devicetest.Run(t, d)
}
