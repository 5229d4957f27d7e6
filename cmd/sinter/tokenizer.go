package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/tokenizer"
	"github.com/sinter-dl/sinter/train/recipe"
)

func tokenizerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tokenizer",
		Short: "Make a tokenizer, or look at what one does",
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(tokenizerTrainCommand(), tokenizerEncodeCommand())
	return c
}

func tokenizerTrainCommand() *cobra.Command {
	var size int
	var out string
	var special []string
	c := &cobra.Command{
		Use:   "train FILE --vocab N",
		Short: "Learn a byte-level BPE from a text",
		Long: `Learn a byte-level BPE, in the manner of GPT-2, from a text file or a folder of
them, and write it as a tokenizer.json, which Hugging Face's tokenizers reads as
well. A recipe uses it by data.tokenizer, or learns its own: bpe:4096.`,
		Example: `  sinter tokenizer train book.txt --vocab 4096
  sinter train gpt --data book.txt --set data.tokenizer=tokenizer.json`,
		Args: exactly("the text FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if least := tokenizer.MinBPE + len(special); size < least {
				return &recipe.UsageError{Place: "--vocab", Reason: fmt.Sprintf("expected at least %d, a token for each byte and special token", least)}
			}
			text, err := data.ReadText(args[0])
			if err != nil {
				return err
			}
			t, err := tokenizer.TrainBPE(text, size, special...)
			if err != nil {
				return err
			}
			content, err := t.MarshalJSON()
			if err != nil {
				return err
			}
			if err := writeWhole(out, append(content, '\n')); err != nil {
				return err
			}
			ids, err := t.Encode(text)
			if err != nil {
				return err
			}
			ui.Table(c.OutOrStdout(), [][]string{
				{"tokens", ui.Count(t.Size())},
				{"text", fmt.Sprintf("%s as %s tokens, %.2f bytes each", ui.Bytes(int64(len(text))), ui.Count(len(ids)), float64(len(text))/float64(len(ids)))},
				{"file", out},
			})
			return nil
		},
	}
	c.Flags().IntVar(&size, "vocab", 4096, "`N` tokens: 256 for bytes, and as many merges as are left")
	c.Flags().StringArrayVar(&special, "special", nil, "a special token such as '<|endoftext|>'; may be repeated")
	c.Flags().StringVar(&out, "out", "tokenizer.json", "`FILE` to write")
	c.Flags().SortFlags = false
	return c
}

func tokenizerEncodeCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "encode TOKENIZER [TEXT]",
		Short: "Print the tokens of a text; without TEXT that of standard input",
		Long: `Print the tokens of a text, one a line: its id, and what it stands for. TOKENIZER
is char, byte, a tokenizer.json, a folder that has one or GPT-2's files, or a run
folder.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("the TOKENIZER")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			var text string
			if len(args) == 2 {
				text = args[1]
			} else {
				b, err := io.ReadAll(c.InOrStdin())
				if err != nil {
					return fmt.Errorf("reading standard input: %w", err)
				}
				text = string(b)
			}
			var t tokenizer.Tokenizer
			var err error
			switch args[0] {
			case "byte":
				t = tokenizer.Bytes{}
			case "char":
				t = tokenizer.NewChars(text)
			default:
				if t, err = tokenizer.Load(args[0]); err != nil {
					return err
				}
			}
			ids, err := t.Encode(text)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(ids)
			}
			var b strings.Builder
			for _, id := range ids {
				fmt.Fprintf(&b, "%8d  %q\n", id, t.Decode([]int64{id}))
			}
			fmt.Fprintf(&b, "%s for %s\n", plural(len(ids), "token"), plural(len(text), "byte"))
			_, err = io.WriteString(c.OutOrStdout(), b.String())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the ids as one JSON list")
	c.Flags().SortFlags = false
	return c
}

// writeWhole writes a file under another name first, so that it is whole or absent.
func writeWhole(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", name, err)
	}
	defer os.Remove(f.Name()) // nothing is there any more after the renaming
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", name, err)
	}
	return nil
}
