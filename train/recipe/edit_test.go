package recipe

import "testing"

func TestEdit(t *testing.T) {
	for _, c := range []struct{ text, key, value, want string }{
		{"name: a # mine\n\nbatch: 32   # as it fits\nmodel: {kind: mlp}\n", "batch", "64", "name: a # mine\n\nbatch: 64   # as it fits\nmodel: {kind: mlp}\n"},
		{"# é\nname: a\nmodel:\n  kind: mlp", "precision", "bf16", "# é\nname: a\nmodel:\n  kind: mlp\nprecision: bf16\n"},
		{"name: a\nprecision: fp32\ndata:\n    precision_of: none\n", "precision", "bf16", ""}, // no recipe before either
		{"{name: a, batch: 3}", "batch", "4", ""},
		{"name: a\nbatch: \"3\"\n", "batch", "4", ""},
		{"name: a\nbatch: &x 3\nepochs: *x\n", "batch", "4", ""}, // changes another key, too
		{"name: [", "batch", "4", ""},
	} {
		got, err := Edit("r.yaml", []byte(c.text), c.key, c.value)
		if (err != nil) != (c.want == "") || err == nil && string(got) != c.want {
			t.Errorf("%q: %q, %v, expected %q", c.text, got, err, c.want)
		}
	}
	for _, name := range Builtin() { // all of them can be edited
		text, err := Source(name)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range map[string]string{"batch": "96", "precision": "bf16"} {
			if text, err = Edit(name+".yaml", text, key, value); err != nil {
				t.Error(err)
				break
			}
		}
		if r, err := Parse(name+".yaml", text); err != nil || r.Batch != 96 || r.Precision != "bf16" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
