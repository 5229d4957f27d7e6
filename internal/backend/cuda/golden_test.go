package cuda_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// Whole models on the simulated machine: PyTorch's losses and gradients, and steps that are
// compiled or not to the same bits.
func TestGoldenRuns(t *testing.T) {
	if os.Getenv("SINTER_STRESS") == "" {
		t.Skip("a minute and more; SINTER_STRESS=1 runs it")
	}
	m := simcuda.Require(t)
	cmd := exec.Command("go", "test", "-count=1", "-run", "^(TestGolden|TestCompiledStepsHaveTheSameBits)$", ".", "./models")
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), "SINTER_DEVICE=cuda:0", "SINTER_STRESS=", "SINTER_LIBRARY_PATH="+m.Dir+string(os.PathListSeparator)+"none", "SIMCUDA=device=Simulated,cc:80")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
