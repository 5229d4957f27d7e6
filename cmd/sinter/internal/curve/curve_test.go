package curve

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func example() Run {
	run := Run{Title: "lenet", Metric: "accuracy"}
	for step := 1; step <= 1500; step++ {
		noise := math.Sin(float64(step)*12.9898) * 0.2
		run.Loss = append(run.Loss, Point{float64(step), 2.3*math.Exp(-float64(step)/200)*(1+noise) + 0.05*(1+noise)})
	}
	for epoch := 1; epoch <= 5; epoch++ {
		at := float64(300 * epoch)
		run.TestLoss = append(run.TestLoss, Point{at, 2.0*math.Exp(-at/200) + 0.07})
		run.TrainMetric = append(run.TrainMetric, Point{at, 1 - 0.4*math.Exp(-at/300)})
		run.TestMetric = append(run.TestMetric, Point{at, 0.99 - 0.4*math.Exp(-at/300)})
	}
	return run
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if keep := os.Getenv("SINTER_KEEP"); keep != "" {
		dir = keep
	}
	for _, run := range []Run{example(), {Title: "nothing"}, {Loss: []Point{{1, math.NaN()}, {2, math.Inf(1)}}}, {Loss: []Point{{1, 0.5}}}} {
		name := filepath.Join(dir, "curve-"+run.Title+".png")
		if err := Write(name, run); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() < 500 || b.Dy() < 250 {
			t.Errorf("the picture has %d×%d pixels", b.Dx(), b.Dy())
		}
	}
	svg := filepath.Join(dir, "curve.svg")
	if err := Write(svg, example()); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(svg); !bytes.Contains(content, []byte("</svg>")) {
		t.Error("the SVG has no end")
	}
	if err := Write(filepath.Join(dir, "curve.gif"), example()); err == nil {
		t.Error("a .gif was written")
	}
}
