package templates_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/scheduler"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

type body = map[string]any

// each runs a story of a template on every database, on a product of its own.
func each(t *testing.T, story func(t *testing.T, p *product)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { story(t, newProduct(t, s)) })
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	require.Empty(t, cmp.Diff(want, got))
}

const day = 24 * time.Hour

func TestLeadToSequence(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "lead-to-sequence", `{"segment_id":"seg_1","sequence_id":"seq_7"}`, map[string]string{"/lead-enricher": `{"company":"Acme"}`})
		run := b.starts("lead.segment_entered", `{"lead_id":"l1","segment_id":"seg_1","name":"Ada"}`)
		equal(t, body{"lead_id": "l1", "sequence_id": "seq_7", "enriched": true, "result": body{"ok": true}}, b.ends(run, "completed"))
		equal(t, []body{{"lead_id": "l1", "lead": body{"lead_id": "l1", "segment_id": "seg_1", "name": "Ada"}}}, b.told("/lead-enricher"))
		equal(t, []body{{"lead_id": "l1", "sequence_id": "seq_7", "segment_id": "seg_1", "enrichment": body{"company": "Acme"}}}, b.told("/sequence-enroller"))

		require.Contains(t, b.ignored("lead.segment_entered", `{"lead_id":"l1","segment_id":"seg_1"}`), "the same key")
		require.Contains(t, b.ignored("lead.segment_entered", `{"lead_id":"l2","segment_id":"seg_2"}`), "filter is false")
		require.Contains(t, b.ignored("lead.segment_entered", `{"segment_id":"seg_1"}`), "lead_id")
		p.clock.Advance(31 * day)
		b.answers("/lead-enricher", "404")
		run = b.starts("lead.segment_entered", `{"lead_id":"l1","segment_id":"seg_1"}`)
		require.Equal(t, false, b.ends(run, "completed")["enriched"])
		equal(t, body{"lead_id": "l1", "sequence_id": "seq_7", "segment_id": "seg_1", "enrichment": body{}}, b.told("/sequence-enroller")[1])

		// Nobody is lost silently: the run fails, and is done again from there.
		b.answers("/sequence-enroller", "422")
		run = b.starts("lead.segment_entered", `{"lead_id":7,"segment_id":"seg_1"}`)
		b.ends(run, "failed")
		b.answers("/sequence-enroller", "")
		again, _ := b.ask("POST", "/runs/"+run+"/rerun", `{"from_step":"add"}`)["id"].(string)
		require.Equal(t, 7.0, b.ends(again, "completed")["lead_id"])
	})
}

func TestScoreAndRoute(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "score-and-route", `{"slack":"{slack}","sales_sequence_id":"sales","nurture_sequence_id":"slow","warm_score":40}`, nil)
		lead := func(id, answer string) body {
			b.answers("/lead-scorer", answer)
			return b.ends(b.starts("lead.created", `{"lead_id":"`+id+`","name":"Ada `+id+`"}`), "completed")
		}
		equal(t, body{"lead_id": "hot", "score": 91.0, "alerted": true}, lead("hot", `{"score":91}`))
		equal(t, []string{"Hot lead: Ada hot scored 91"}, b.texts(""))
		require.Empty(t, b.told("/sequence-enroller"))
		lead("warm", `{"score":40}`)
		lead("cold", `{"score":39.5}`)
		lead("unknown", "404") // counts as 50
		b.answers(slackPost, "404")
		require.Equal(t, false, lead("unheard", `{"score":80}`)["alerted"])
		equal(t, []body{
			{"lead_id": "warm", "sequence_id": "sales", "score": 40.0}, {"lead_id": "cold", "sequence_id": "slow", "score": 39.5},
			{"lead_id": "unknown", "sequence_id": "sales", "score": nil}, {"lead_id": "unheard", "sequence_id": "sales", "score": 80.0},
		}, b.told("/sequence-enroller"))
	})
}

func TestSpeedToLead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "speed-to-lead", `{"slack":"{slack}","email_template":"tpl"}`, map[string]string{"/voice-lead-qualifier": `{"reached":true,"note":"wants a demo"}`})
		lead := func(id, more string) body {
			return b.ends(b.starts("lead.created", `{"lead_id":"`+id+`","email":"`+id+`@x.com"`+more+`}`), "completed")
		}
		equal(t, body{"lead_id": "talks", "reached": true, "mailed": false}, lead("talks", `,"phone":"+44 20","name":"Ada"`))
		equal(t, []string{"New lead: Ada, phone +44 20"}, b.texts(""))
		equal(t, []body{{"lead_id": "talks", "phone": "+44 20", "lead": body{"lead_id": "talks", "email": "talks@x.com", "phone": "+44 20", "name": "Ada"}}}, b.told("/voice-lead-qualifier"))

		b.answers("/voice-lead-qualifier", `{"reached":false}`)
		equal(t, body{"lead_id": "away", "reached": false, "mailed": true}, lead("away", `,"phone":"1"`))
		b.answers("/voice-lead-qualifier", "404")
		b.answers(slackPost, "404") // nobody hears of it, and it goes on
		require.Equal(t, true, lead("broken", `,"phone":"1"`)["mailed"])
		b.answers(slackPost, "")
		require.Equal(t, true, lead("mute", "")["mailed"])
		equal(t, body{"lead_id": "mute", "to": "mute@x.com", "template": "tpl", "data": body{"lead_id": "mute", "email": "mute@x.com"}}, b.told("/email-sender")[2])
		b.answers("/email-sender", "404")
		require.Equal(t, false, lead("nowhere", "")["mailed"])
		require.Contains(t, b.texts(""), "nowhere@x.com could be neither called nor mailed: the server answered 404 Not Found")
	})
}

func TestFormFollowUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "form-follow-up", `{"form_id":"demo","slack":"{slack}","thanks_template":"thanks","reminder_template":"again"}`, nil)
		fill := func(id string) string {
			return b.starts("form.submitted", `{"lead_id":"`+id+`","form_id":"demo","email":"`+id+`@x.com"}`)
		}
		require.Contains(t, b.ignored("form.submitted", `{"lead_id":"other","form_id":"news"}`), "filter is false")
		replies, silent := fill("replies"), fill("silent")
		b.waits(replies, "answer")
		b.waits(silent, "answer")
		b.event("sequence.email.replied", `{"lead_id":"replies","text":"Call me"}`)
		equal(t, body{"lead_id": "replies", "replied": true, "reminded": false}, b.ends(replies, "completed"))
		equal(t, []string{"replies@x.com replied: Call me"}, b.texts(""))
		b.passes(47 * time.Hour)
		b.waits(silent, "answer")
		b.passes(2 * time.Hour)
		equal(t, body{"lead_id": "silent", "replied": false, "reminded": true}, b.ends(silent, "completed"))
		equal(t, "again", b.told("/email-sender")[2]["template"])

		b.answers("/email-sender", "404")
		equal(t, body{"lead_id": "lost", "replied": false, "reminded": false}, b.ends(fill("lost"), "completed"))
		require.Contains(t, b.texts(""), "lost@x.com filled in demo and could not be thanked: the server answered 404 Not Found")
	})
}

func TestNurtureUntilReply(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "nurture-until-reply", `{"segment_id":"cold","slack":"{slack}","template_1":"t1","template_2":"t2","template_3":"t3"}`, nil)
		enter := func(id string) string {
			return b.starts("lead.segment_entered", `{"lead_id":"`+id+`","segment_id":"cold","email":"`+id+`@x.com"}`)
		}
		silent, replies := enter("silent"), enter("replies")
		b.waits(silent, "reply1")
		b.waits(replies, "reply1")
		b.passes(4*day + time.Minute)
		b.waits(silent, "reply2")
		b.waits(replies, "reply2")
		b.event("sequence.email.replied", `{"lead_id":"replies"}`)
		equal(t, body{"lead_id": "replies", "replied": true, "gave_up": false}, b.ends(replies, "completed"))
		equal(t, []string{"replies@x.com replied and gets no more e-mails"}, b.texts(""))
		b.passes(4*day + time.Minute)
		b.waits(silent, "reply3")
		b.passes(4*day + time.Minute)
		equal(t, body{"lead_id": "silent", "replied": false, "gave_up": true}, b.ends(silent, "completed"))
		equal(t, []body{{"lead_id": "silent", "set": body{"status": "unresponsive"}}}, b.told("/crm-writer"))
		sent := map[string][]string{}
		for _, mail := range b.told("/email-sender") {
			to, _ := mail["to"].(string)
			template, _ := mail["template"].(string)
			sent[to] = append(sent[to], template)
		}
		equal(t, map[string][]string{"silent@x.com": {"t1", "t2", "t3"}, "replies@x.com": {"t1", "t2"}}, sent)

		broken := enter("broken")
		b.waits(broken, "reply1")
		b.answers("/email-sender", "404")
		b.passes(4*day + time.Minute)
		b.ends(broken, "completed")
		require.Contains(t, b.texts(""), "The e-mails to broken@x.com stopped: the server answered 404 Not Found")
	})
}

func TestWinBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "win-back", `{"slack":"{slack}","offer_template":"offer","rest":"30d"}`, map[string]string{"/crm-reader": `{"status":"lost"}`})
		lose := func(id string) string {
			run := b.starts("lead.status_changed", `{"lead_id":"`+id+`","status":"lost","email":"`+id+`@x.com"}`)
			b.waits(run, "rest")
			return run
		}
		require.Contains(t, b.ignored("lead.status_changed", `{"lead_id":"won","status":"won"}`), "filter is false")
		back, gone := lose("back"), lose("gone")
		b.passes(30*day + time.Minute)
		b.waits(back, "answer")
		b.waits(gone, "answer")
		require.Len(t, b.told("/email-sender"), 2)
		b.event("sequence.email.replied", `{"lead_id":"back"}`)
		equal(t, body{"lead_id": "back", "won_back": true}, b.ends(back, "completed"))
		equal(t, []string{"A lost lead is back: back@x.com replied to the offer"}, b.texts(""))
		b.passes(15 * day)
		equal(t, body{"lead_id": "gone", "won_back": false}, b.ends(gone, "completed"))

		b.answers("/crm-reader", `{"status":"customer"}`)
		moved := lose("moved")
		b.passes(30*day + time.Minute)
		b.ends(moved, "completed")
		b.answers("/crm-reader", "404")
		asked, refused, unsent := lose("asked"), lose("refused"), lose("unsent")
		b.passes(30*day + time.Minute)
		for _, run := range []string{asked, refused, unsent} {
			b.waits(run, "ask")
		}
		require.Len(t, b.told("/email-sender"), 2, "who may be a customer gets no offer")
		b.ask("POST", "/runs/"+refused+"/steps/ask/reject", `{}`)
		b.ends(refused, "completed")
		b.ask("POST", "/runs/"+asked+"/steps/ask/approve", `{}`)
		b.waits(asked, "answer")
		require.Equal(t, "asked@x.com", b.told("/email-sender")[2]["to"])
		b.answers("/email-sender", "404")
		b.ask("POST", "/runs/"+unsent+"/steps/ask/approve", `{}`)
		b.ends(unsent, "completed")
		require.Contains(t, b.texts(""), "The offer to win back unsent@x.com could not be sent: the server answered 404 Not Found")
	})
}

func TestHotLeadAlert(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "hot-lead-alert", `{"slack":"{slack}","channel":"#sales","escalation_channel":"#boss"}`, nil)
		rise := func(id string) string {
			return b.starts("lead.score_changed", `{"lead_id":"`+id+`","score":85,"previous_score":70}`)
		}
		require.Contains(t, b.ignored("lead.score_changed", `{"lead_id":"was","score":95,"previous_score":85}`), "filter is false")
		taken, left := rise("taken"), rise("left")
		b.waits(taken, "taken")
		b.waits(left, "taken")
		require.Contains(t, b.ignored("lead.score_changed", `{"lead_id":"left","score":90,"previous_score":1}`), "the same key")
		b.event("lead.status_changed", `{"lead_id":"taken","status":"working","changed_by":"anna"}`)
		equal(t, body{"lead_id": "taken", "taken": true, "escalated": false}, b.ends(taken, "completed"))
		b.passes(61 * time.Minute)
		equal(t, body{"lead_id": "left", "taken": false, "escalated": true}, b.ends(left, "completed"))
		require.ElementsMatch(t, []string{"Hot lead: taken is at 85. Change its status to take it.", "Hot lead: left is at 85. Change its status to take it."}, b.texts("#sales"))
		equal(t, []string{"Nobody has taken the hot lead left (score 85)"}, b.texts("#boss"))
		b.answers(slackPost, "404")
		b.ends(rise("unheard"), "completed")
		equal(t, []body{{"lead_id": "unheard", "task": "Hot lead: the score is 85. Take it."}}, b.told("/crm-writer"))

		// Without a second channel it is told to the first one again.
		one := p.install(t, "hot-lead-alert", `{"slack":"{slack}"}`, nil)
		run := one.starts("lead.score_changed", `{"lead_id":"x","score":80}`)
		one.waits(run, "taken")
		one.passes(61 * time.Minute)
		one.ends(run, "completed")
		require.Len(t, one.texts("#sales"), 2)
	})
}

func TestApproveThenSend(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "approve-then-send", `{"slack":"{slack}","brief":"Invite","approvers":["anna"]}`, map[string]string{"/email-writer": `{"subject":"Hi","body":"Come"}`})
		qualify := func(id string) string {
			run := b.starts("lead.status_changed", `{"lead_id":"`+id+`","status":"qualified","email":"`+id+`@x.com"}`)
			b.waits(run, "ask")
			return run
		}
		yes := qualify("yes")
		equal(t, []string{"Draft for yes@x.com, to be decided in run " + yes + ", step ask:\nHi\n\nCome"}, b.texts(""))
		require.Equal(t, "Invite", b.told("/email-writer")[0]["brief"])
		require.Empty(t, b.told("/email-sender"))
		b.ask("POST", "/runs/"+yes+"/steps/ask/approve", `{}`)
		equal(t, body{"lead_id": "yes", "sent": true}, b.ends(yes, "completed"))
		changed := qualify("changed")
		b.ask("POST", "/runs/"+changed+"/steps/ask/approve", `{"data":{"body":"Do come"}}`)
		b.ends(changed, "completed")
		equal(t, []body{
			{"lead_id": "yes", "to": "yes@x.com", "subject": "Hi", "body": "Come"}, {"lead_id": "changed", "to": "changed@x.com", "subject": "Hi", "body": "Do come"},
		}, b.told("/email-sender"))
		no := qualify("no")
		b.ask("POST", "/runs/"+no+"/steps/ask/reject", `{"comment":"not yet"}`)
		equal(t, body{"lead_id": "no", "sent": false}, b.ends(no, "completed"))
		b.answers(slackPost, "404") // the draft can be seen in the run as well
		nobody := qualify("nobody")
		b.answers(slackPost, "")
		b.passes(49 * time.Hour)
		b.ends(nobody, "completed")
		require.Contains(t, b.texts(""), "Nobody decided on the draft for nobody@x.com: nothing was sent")
		b.answers("/email-writer", "404")
		b.ends(b.starts("lead.status_changed", `{"lead_id":"blank","status":"qualified"}`), "completed")
		require.Contains(t, b.texts(""), "No draft could be made for blank: the server answered 404 Not Found")
		require.Len(t, b.told("/email-sender"), 2)
	})
}

func TestDailyDigest(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "daily-digest", `{"slack":"{slack}"}`, map[string]string{
			"/lead-reporter": `{"summary":"A good day","owners":[{"email":"a@x.com","leads":["l1","l2"]},{"email":"b@x.com","leads":["l3"]}]}`,
		})
		schedules := scheduler.NewSchedules(p.bus, testkit.Logger(t), nil, scheduler.SweepConfig{})
		next := func(after time.Duration) string {
			b.clock.Advance(after)
			require.NoError(t, schedules.RunOnce(t.Context()))
			ticks, _ := b.ask("GET", "/triggers/"+b.trigger+"/ticks", "")["items"].([]any)
			require.NotEmpty(t, ticks)
			tick, _ := ticks[0].(map[string]any)
			run, _ := tick["run_id"].(string)
			require.NotEmpty(t, run, "%v", tick)
			return run
		}
		run := next(30 * time.Minute)
		out := b.ends(run, "completed")
		require.Equal(t, 2.0, out["owners"])
		require.Contains(t, out["due"], "2026-12-01T08:00:00")
		equal(t, []body{{"until": out["due"], "hours": 24.0}}, b.told("/lead-reporter"))
		equal(t, []string{"A good day (3 leads)"}, b.texts(""))
		mails := map[any]any{}
		for _, mail := range b.told("/email-sender") {
			mails[mail["to"]] = mail["leads"]
		}
		equal(t, map[any]any{"a@x.com": []any{"l1", "l2"}, "b@x.com": []any{"l3"}}, mails)

		b.answers("/lead-reporter", `{"summary":"Nothing","owners":[]}`)
		b.ends(next(day), "completed")
		require.Len(t, b.texts(""), 1)
		b.answers("/lead-reporter", "404")
		b.ends(next(day), "completed")
		require.Contains(t, b.texts("")[1], "There is no digest of 2026-12-03T08:00:00")
	})
}

func TestSyncToSheet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		b := p.install(t, "sync-to-sheet", `{"sheets":"{google_sheets}","spreadsheet_id":"s1"}`, nil)
		run := b.starts("lead.created", `{"lead_id":"l1","name":"Ada","score":5}`)
		require.Contains(t, b.ignored("lead.updated", `{"lead_id":"l1","name":"Ada","score":9}`), "made part of run "+run)
		b.passes(31 * time.Second)
		equal(t, body{"lead_id": "l1", "written": true}, b.ends(run, "completed"))
		equal(t, []body{{"values": []any{[]any{"l1", "Ada", nil, nil, nil, 9.0}}}}, b.told(sheetAppend))

		b.answers(sheetAppend, "404")
		later := b.starts("lead.updated", `{"lead_id":"l2"}`)
		b.passes(31 * time.Second)
		b.waits(later, "pause")
		b.answers(sheetAppend, "")
		b.passes(61 * time.Minute)
		b.ends(later, "completed")
		b.answers(sheetAppend, "404")
		later = b.starts("lead.updated", `{"lead_id":"l3"}`)
		b.passes(31 * time.Second)
		b.waits(later, "pause")
		b.passes(61 * time.Minute)
		b.ends(later, "failed")
	})
}

func TestWelcomeAndEnroll(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *product) {
		const leads, sequence = "/tenex/api/v1/crm/leads/", "/tenex/api/v1/marketing/sequences/seq_1/leads"
		b := p.install(t, "welcome-and-enroll", `{"tenex":"{tenex}","email":"{email}","sequence_id":"seq_1","subject":"Good to have you","text":"What brings you here?","source":"web"}`,
			map[string]string{leads + "l1/enrich": `{"id":"l1","name":"Ada"}`})
		run := b.starts("lead.created", `{"lead_id":"l1","email":"ada@x.com","source":"web"}`)
		equal(t, body{"lead_id": "l1", "enriched": true, "welcomed": true, "sequence_id": "seq_1"}, b.ends(run, "completed"))
		require.Len(t, b.mail.got(), 1)
		for _, part := range []string{"TO:<ada@x.com>", "Subject: Good to have you", "hello@acme.example", "Hello Ada,", "What brings you here?"} {
			require.Contains(t, b.mail.got()[0], part)
		}
		equal(t, []body{{"lead_id": "l1"}}, b.told(sequence))
		require.Contains(t, b.ignored("lead.created", `{"lead_id":"l1","email":"ada@x.com","source":"web"}`), "the same key")
		require.Contains(t, b.ignored("lead.created", `{"lead_id":"l2","email":"bob@x.com","source":"fair"}`), "filter is false")

		// Nothing is known, and the mail goes to nobody: the lead is enrolled all the same.
		b.answers(leads+"7/enrich", "404")
		run = b.starts("lead.created", `{"lead_id":7,"email":"nobody@x.com","source":"web"}`)
		equal(t, body{"lead_id": 7.0, "enriched": false, "welcomed": false, "sequence_id": "seq_1"}, b.ends(run, "completed"))
		require.Len(t, b.mail.got(), 1)
		b.answers(sequence, "422")
		b.ends(b.starts("lead.created", `{"lead_id":"l3","email":"cy@x.com","name":"Cy","source":"web"}`), "failed")
		require.Contains(t, b.mail.got()[1], "Hello Cy,")
	})
}
