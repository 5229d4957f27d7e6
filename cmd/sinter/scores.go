package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train/recipe"
)

// metricOrder is the order in which metrics are shown; others follow by name.
var metricOrder = []string{"accuracy", "top2", "top3", "top5", "top10", "f1", "precision", "recall", "auc", "r2", "rmse", "mae", "mae_last_value", "mae_seasonal_naive", "perplexity"}

// metricNames are the metrics of m in the order to show them.
func metricNames[V any](m map[string]V) []string {
	rank := func(name string) int {
		if i := slices.Index(metricOrder, name); i >= 0 {
			return i
		}
		return len(metricOrder)
	}
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// metricText writes a metric's value as it is usually read.
func metricText(name string, v float64) string {
	switch name {
	case "accuracy", "top2", "top3", "top5", "top10", "mape":
		return ui.Percent(v)
	}
	return ui.Number(v)
}

// scoreRows are the rows of a table on how good a model is.
func scoreRows(prefix string, loss recipe.Number, metrics map[string]recipe.Number, confusions []recipe.Confusion) [][]string {
	var rows [][]string
	for _, name := range metricNames(metrics) {
		label := name
		switch name {
		case "f1", "precision", "recall", "dice", "iou":
			label += " (macro)" // the mean over the classes
		case "mae_last_value":
			label = "mae if nothing changed"
		case "mae_seasonal_naive":
			label = "mae of the last season"
		}
		rows = append(rows, []string{prefix + label, metricText(name, float64(metrics[name]))})
	}
	if !math.IsNaN(float64(loss)) {
		rows = append(rows, []string{prefix + "loss", ui.Number(float64(loss))})
	}
	for i, c := range confusions {
		title := ""
		if i == 0 {
			title = "confusions"
		}
		if i == 5 {
			break
		}
		rows = append(rows, []string{title, fmt.Sprintf("%s taken for %s: %s of %s", c.Class, c.Taken, ui.Count(c.Count), ui.Count(c.Of))})
	}
	return rows
}
