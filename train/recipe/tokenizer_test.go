package recipe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A language model is trained on each kind of token, and its run knows them again.
func TestTokenizers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "book.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("The cat sat on the mat; it's a café. Then the cat went.\n", 60)), 0o666); err != nil {
		t.Fatal(err)
	}
	train := func(kind, tokens, out string) error {
		r, err := Parse("my.yaml", []byte("model: {kind: "+kind+", layers: 1, width: 8, block: 8}\nsteps: 2\nbatch: 4"))
		if err != nil {
			return err
		}
		for key, value := range map[string]string{"data.path": path, "data.tokenizer": tokens} {
			if err := r.Set("--set", key, value); err != nil {
				return err
			}
		}
		job, err := Prepare(r)
		if err != nil {
			return err
		}
		_, err = job.Run(t.Context(), RunOptions{Dir: out})
		return err
	}
	learnt := filepath.Join(dir, "bpe", TokenizerFile)
	for name, tokens := range map[string]string{"char": "char", "byte": "byte", "bpe": "bpe:290"} {
		out := filepath.Join(dir, name)
		if err := train(map[string]string{"char": "lstm", "byte": "gpt", "bpe": "gpt"}[name], tokens, out); err != nil {
			t.Fatalf("%s: %v", tokens, err)
		}
		run, err := LoadRun(out)
		if err != nil {
			t.Fatalf("%s: %v", tokens, err)
		}
		var pieces strings.Builder
		text, err := run.Generate(GenerateOptions{Prompt: "The café", Tokens: 40, Temperature: 1, Write: func(s string) { pieces.WriteString(s) }})
		if err != nil || !strings.HasPrefix(text, "The café") || pieces.String() != text || strings.ToValidUTF8(text, "") != text {
			t.Errorf("%s: wrote %q, in pieces %q, %v", tokens, text, pieces.String(), err)
		}
		if scores, err := run.Score(t.Context(), path); err != nil || !(scores.Metrics["perplexity"] > 1) {
			t.Errorf("%s: %+v, %v", tokens, scores, err)
		}
		_, err = os.Stat(filepath.Join(out, TokenizerFile))
		if has := err == nil; has != (name == "bpe") {
			t.Errorf("%s: there is a %s: %v", tokens, TokenizerFile, has)
		}
	}
	if err := train("gpt", learnt, filepath.Join(dir, "again")); err != nil {
		t.Errorf("with the tokenizer of another run: %v", err)
	}
	content, err := os.ReadFile(learnt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(learnt, []byte(strings.Replace(string(content), "true", "false", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRun(filepath.Join(dir, "bpe")); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("a tokenizer that was altered: %v", err)
	}
	for tokens, want := range map[string]string{"bpe:12": "at least 256", "bpe": `unknown data.tokenizer "bpe"; did you mean`, "bpe:x": "a number of tokens"} {
		if err := train("gpt", tokens, filepath.Join(dir, "bad")); !errors.As(err, new(*UsageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %s", tokens, err, want)
		}
	}
	if err := train("gpt", "./absent.json", filepath.Join(dir, "bad")); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("got %v", err)
	}
}
