package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenizerCommand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "book.txt"), []byte(strings.Repeat("to be or not to be\n", 50)), 0o666); err != nil {
		t.Fatal(err)
	}
	o := execute(t, dir, "tokenizer", "train", "book.txt", "--vocab", "270", "--special", "<end>")
	if o.status != 0 || !strings.Contains(o.stdout, "tokenizer.json") {
		t.Fatalf("%+v", o)
	}
	o = execute(t, dir, "tokenizer", "encode", "tokenizer.json", "not to be<end>", "--json")
	var ids []int64
	if err := json.Unmarshal([]byte(o.stdout), &ids); err != nil || o.status != 0 || len(ids) < 3 || ids[len(ids)-1] != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if o = execute(t, dir, "tokenizer", "encode", "byte", "é"); o.status != 0 || !strings.Contains(o.stdout, `195  "\xc3"`) {
		t.Errorf("%+v", o)
	}
	if o = execute(t, dir, "tokenizer", "train", "book.txt", "--vocab", "200"); o.status != 2 || !strings.Contains(o.stderr, "at least 256") {
		t.Errorf("%+v", o)
	}
	if o = execute(t, dir, "tokenizer", "encode", "absent.json", "x"); o.status != 1 || !strings.Contains(o.stderr, "absent.json") {
		t.Errorf("%+v", o)
	}
}
