package preprocess

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// matrix is rows in which null is NaN.
type matrix [][]float64

func (m *matrix) UnmarshalJSON(b []byte) error {
	var rows [][]*float64
	if err := json.Unmarshal(b, &rows); err != nil {
		return err
	}
	for _, r := range rows {
		row := make([]float64, len(r))
		for c, v := range r {
			row[c] = math.NaN()
			if v != nil {
				row[c] = *v
			}
		}
		*m = append(*m, row)
	}
	return nil
}

func compare(t *testing.T, name string, got [][]float64, err error, want matrix) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Errorf("%s: %d rows of %d, %v", name, len(got), len(want), err)
		return
	}
	for i, r := range got {
		for c, v := range r {
			if w := want[i][c]; len(r) != len(want[i]) || math.Abs(v-w) > 1e-9*max(1, math.Abs(w)) || (v == v) != (w == w) {
				t.Errorf("%s: row %d is %v, scikit-learn says %v", name, i, r, want[i])
				break
			}
		}
	}
}

type scaler interface {
	Fit([][]float64) error
	Transform([][]float64) ([][]float64, error)
}

func TestScikitLearn(t *testing.T) {
	b, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	type result struct{ Fit, New matrix }
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	get := func(name string, v any) {
		t.Helper()
		if err := json.Unmarshal(raw[name], v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var fit, fresh matrix
	var words, features [][]string
	get("fit", &fit)
	get("new", &fresh)
	get("words", &words)
	get("features", &features)
	for name, s := range map[string]scaler{
		"StandardScaler": new(StandardScaler), "MinMaxScaler": new(MinMaxScaler), "RobustScaler": new(RobustScaler),
		"SimpleImputer mean": new(SimpleImputer), "SimpleImputer median": &SimpleImputer{Strategy: "median"},
		"SimpleImputer most_frequent": &SimpleImputer{Strategy: "most_frequent"}, "SimpleImputer constant": &SimpleImputer{Strategy: "constant", Constant: -1},
	} {
		var want result
		get(name, &want)
		if err := s.Fit(fit); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := s.Transform(fit)
		compare(t, name, got, err, want.Fit)
		if inverse, ok := s.(interface {
			InverseTransform([][]float64) ([][]float64, error)
		}); ok {
			back, err := inverse.InverseTransform(got)
			compare(t, name+", back", back, err, fit)
		}
		// As it is after it was saved.
		saved, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again := reflect.New(reflect.TypeOf(s).Elem()).Interface().(scaler)
		if err := json.Unmarshal(saved, again); err != nil {
			t.Fatal(err)
		}
		if want.New != nil {
			got, err := again.Transform(fresh)
			compare(t, name+", other rows", got, err, want.New)
		}
		if _, err := again.Transform([][]float64{{1}}); err == nil || !strings.Contains(err.Error(), "row 0 has 1 values, expected 4") {
			t.Errorf("%s: got %v", name, err)
		}
		if s.Fit(nil) == nil {
			t.Errorf("%s was fitted on nothing", name)
		}
	}

	var want result
	get("OrdinalEncoder", &want)
	ordinal := new(OrdinalEncoder)
	if err := ordinal.Fit(words); err != nil {
		t.Fatal(err)
	}
	got, err := ordinal.Transform(words)
	compare(t, "OrdinalEncoder", got, err, want.Fit)
	if back, err := ordinal.InverseTransform(got); err != nil || !reflect.DeepEqual(back, words) {
		t.Errorf("OrdinalEncoder gives back %q, %v", back, err)
	}
	want = result{}
	get("OneHotEncoder", &want)
	hot := new(OneHotEncoder)
	if err := hot.Fit(words); err != nil {
		t.Fatal(err)
	}
	got, err = hot.Transform(words)
	compare(t, "OneHotEncoder", got, err, want.Fit)
	want = result{}
	get("FeatureHasher", &want)
	got, err = FeatureHasher{16}.Transform(features)
	compare(t, "FeatureHasher", got, err, want.Fit)

	for _, f := range []func([][]string) ([][]float64, error){ordinal.Transform, hot.Transform} {
		if _, err := f([][]string{{"pink", "M"}}); err == nil || !strings.Contains(err.Error(), `"pink" was not there`) {
			t.Errorf("got %v", err)
		}
	}
	minus := -1.0
	ordinal.Unknown, hot.IgnoreUnknown = &minus, true
	if got, err := ordinal.Transform([][]string{{"pink", "M"}}); err != nil || got[0][0] != -1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := hot.Transform([][]string{{"pink", "M"}}); err != nil || len(got[0]) != hot.Width() || got[0][0] != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
