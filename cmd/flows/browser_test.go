package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// browser opens a tab in a real browser, and fails the test when a page says that
// something is wrong with it.
func browser(t *testing.T) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testkit.Chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.UserDataDir(t.TempDir()))
	ctx, stopBrowser := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stopBrowser)
	ctx, stopTab := chromedp.NewContext(ctx)
	t.Cleanup(stopTab)
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("a script failed: %s", ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			// The queue's pages, which are not ours, ask for fonts of another site and,
			// without the cookie, for a manifest. They do without both.
			said := ev.Entry.Text + " " + ev.Entry.URL
			if ev.Entry.Level == log.EntryLevelError && !strings.Contains(said, "fonts.g") && !strings.Contains(said, "manifest.json") {
				t.Errorf("a page says: %s", said)
			}
		}
	}))
	return ctx
}

func TestAPersonLogsInAndLooksAround(t *testing.T) {
	t.Parallel()
	if !testkit.HaveChromium() {
		return // with CI=true there has to be one
	}
	p, line, c := dev(t, t.TempDir())
	wf := c.workflow(`{"steps":[{"id":"a","type":"connector","connector":"core","action":"set"},{"id":"w","type":"wait","for":"5m"}],"edges":[{"from":"a","to":"w"}]}`)
	run := c.trigger(wf)
	require.NotEmpty(t, run.ID)
	ctx := browser(t)

	text := func(selector string) string {
		t.Helper()
		body, err := chromedp.Run(ctx, chromedp.Text(selector))
		require.NoError(t, err)
		return body
	}
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(line.URL+"/docs"), chromedp.WaitVisible("article, section, .operation")))
	require.Contains(t, text("body"), "/api/v1/flows/workflows/{id}/trigger")

	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(line.Monitoring),
		chromedp.WaitVisible("#key"),
		chromedp.SendKeys("#key", line.Key),
		chromedp.Click("button[type=submit]"),
		chromedp.WaitVisible(`a[href*="/queues/system"]`), // the queue that holds the wait
	))
	where, err := chromedp.Run(ctx, chromedp.Location())
	require.NoError(t, err)
	require.Equal(t, line.Monitoring, strings.TrimSuffix(where, "/"), "the login leads back to where one came from")
	require.Contains(t, text("body"), "default")

	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(line.Console), chromedp.WaitVisible("main")))
	require.Contains(t, text("body"), "dev")
	require.Zero(t, p.stop())
}
