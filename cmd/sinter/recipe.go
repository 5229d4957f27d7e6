package main

import (
	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train/recipe"
)

func recipeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "recipe",
		Short: "List the built-in recipes, or print one to start from",
		Args:  exactly("ls or show"),
		RunE: func(_ *cobra.Command, args []string) error {
			return &recipe.UsageError{Reason: "unknown command \"recipe " + args[0] + "\"" + recipe.Suggest(args[0], []string{"ls", "show"})}
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "ls",
		Short: "List the built-in recipes",
		Args:  exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			var rows [][]string
			for _, name := range recipe.Builtin() {
				r, err := recipe.Load(name)
				if err != nil {
					return err
				}
				rows = append(rows, []string{name, r.About})
			}
			ui.Table(c.OutOrStdout(), rows)
			return nil
		},
	}, &cobra.Command{
		Use:   "show NAME",
		Short: "Print a built-in recipe",
		Args:  exactly("the recipe's NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := recipe.Source(args[0])
			if err == nil {
				_, err = c.OutOrStdout().Write(text)
			}
			return err
		},
	})
	return c
}
