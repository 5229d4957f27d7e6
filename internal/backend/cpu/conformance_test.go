package cpu_test

import (
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cpu"
)

func TestConformance(t *testing.T) { devicetest.Run(t, cpu.New()) }
