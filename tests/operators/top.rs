//! `thalweg top` in a pseudo-terminal of its own, and without a terminal.

use crate::operators::{
    pseudo_terminal::PseudoTerminal,
    statistics::{ADMIN, plan},
};
use crate::{
    client::{Call, Version},
    command::run,
    free_port::free_port,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, DONE, Gate, delta},
    },
};

/// A provider that waits for the gate after its first event.
fn provider(gate: &Gate) -> Upstream {
    let steps = vec![
        script::sse_head(),
        script::body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(DONE),
        Step::End,
    ];
    Upstream::always(Speaks::H1, steps)
}

#[tokio::test]
async fn the_screen_shows_sorts_filters_resizes_and_is_given_back() {
    let gate = Gate::new();
    let upstream = provider(&gate);
    let gateway = plan(&[&upstream]).start().await;
    let url = format!("http://{}/v1", gateway.address);
    let mut top = PseudoTerminal::run(&["top", "--url", &url], &[("THALWEG_ADMIN_KEY", ADMIN)]);
    top.shows("an empty list", |screen| {
        screen.has("Nothing is under way") && screen.lines[0].contains("live")
    })
    .await;
    let mut clients = [gateway.client(Version::H1).await, gateway.client(Version::H1).await];
    let own = Call::stream();
    let others = Call::stream().header("authorization", &format!("Bearer {ADMIN}"));
    let id = others.id();
    let mut answers = Vec::new();
    for (client, call) in clients.iter_mut().zip([own, others]) {
        let mut answer = client.send(call).await;
        answer.piece().await;
        answers.push(answer);
    }
    let shown = top.shows("two streams", |screen| screen.with("mid stream").len() == 2).await;
    let row = &shown.lines[shown.with("mid stream")[0]];
    assert!(row.contains("tests") && row.contains(" m ") && row.contains("p0"), "{row}");
    assert!(shown.lines[1].contains("2 under way"), "{}", shown.lines[1]);
    assert!(shown.lines[23].contains("q quit"));
    top.type_in("ssssss");
    top.shows("the order by keys", |screen| screen.has("order: key ") && screen.with("admin") == [4]).await;
    top.type_in("r");
    top.shows("the other order", |screen| screen.has("reversed") && screen.with("admin") == [5]).await;
    top.type_in("/adm");
    top.shows("a filter being typed", |screen| screen.has("filter: adm") && screen.with("mid stream") == [4])
        .await;
    top.type_in("in\r");
    top.shows("a filter", |screen| screen.has("filter: admin (1 of 2)")).await;
    top.type_in("\r");
    top.shows("one request", |screen| screen.has("Request") && screen.has(&id) && screen.has("Added by"))
        .await;
    top.resize((100, 30));
    let shown = top.shows("the new size", |screen| screen.with("Esc back") == [29]).await;
    assert!(shown.lines[0].trim_end().len() > 90, "{}", shown.lines[0]);
    gate.open();
    for answer in answers {
        assert!(answer.collect().await.complete);
    }
    top.shows("how it ended", |screen| screen.has("ended after") && screen.has("ok (200)")).await;
    top.type_in("\u{1b}");
    top.shows("an empty list", |screen| screen.has("Nothing is under way")).await;
    top.type_in("q");
    let left = top.shows("the screen of before", |screen| screen.wrote("\u{1b}[?1049l")).await;
    assert!(left.wrote("\u{1b}[?1049h") && left.wrote("\u{1b}[?25h"));
    let (status, is_restored) = top.ends().await;
    assert!(status.success() && is_restored, "{status}");
    drop(clients);
    gateway.stop().await;
}

#[tokio::test]
async fn it_says_that_the_gateway_is_away_and_goes_on_when_it_is_back() {
    let upstream = provider(&Gate::new());
    let port = free_port();
    let gateway = plan(&[&upstream]).with(|settings| settings.listen.port = port).start().await;
    let url = format!("http://{}", gateway.address);
    let mut top = PseudoTerminal::run(&["top", "--url", &url, "--key", ADMIN], &[]);
    top.shows("a live view", |screen| screen.has("Nothing is under way")).await;
    gateway.stop_now().await;
    top.shows("its absence", |screen| {
        screen.lines[0].contains("AWAY") && screen.has("away; requests appear")
    })
    .await;
    let gateway = plan(&[&upstream]).with(|settings| settings.listen.port = port).start().await;
    top.shows("its return", |screen| screen.lines[0].contains("live") && screen.has("Nothing is under way"))
        .await;
    let mut left = PseudoTerminal::run(&["top", "--url", &url, "--key", ADMIN], &[]);
    left.shows("a live view", |screen| screen.has("Nothing is under way")).await;
    left.hang_up();
    let (status, _) = left.ends().await;
    assert!(status.success(), "{status}");
    top.type_in("\u{3}");
    let (status, is_restored) = top.ends().await;
    assert!(status.success() && is_restored, "{status}");
    gateway.stop_now().await;
    // A gateway that refuses is no gateway that is away.
    let gateway = plan(&[&upstream]).start().await;
    let url = format!("http://{}", gateway.address);
    let mut top = PseudoTerminal::run(&["top", "--url", &url, "--key", "sk-wrong"], &[]);
    top.shows("the reason", |screen| screen.has("this API key is not valid (401)")).await;
    let (status, is_restored) = top.ends().await;
    assert!(status.code() == Some(1) && is_restored, "{status}");
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_terminal_it_prints_one_view() {
    let gate = Gate::new();
    let upstream = provider(&gate);
    let gateway = plan(&[&upstream]).start().await;
    let url = format!("http://{}", gateway.address);
    let print = |arguments: &[&str], key: &str| {
        let all = [&["top", "--url", &url], arguments].concat();
        run(&all, &[("OPENAI_API_KEY", key)])
    };
    let (code, stdout, stderr) = print(&[], ADMIN);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "0 under way\n", ""));
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    answer.piece().await;
    let (_, stdout, _) = print(&["--once"], ADMIN);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "1 under way"), "{stdout}");
    assert!(
        lines[1].contains("PHASE") && lines[2].contains("mid stream") && lines[2].contains("tests"),
        "{stdout}"
    );
    let (_, stdout, _) = print(&["--filter", "another"], ADMIN);
    assert_eq!(stdout, "1 under way\n");
    let (code, stdout, stderr) = print(&[], "sk-wrong");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("error: this API key is not valid (401)"), "{stderr}");
    gate.open();
    assert!(answer.collect().await.complete);
    drop(client);
    gateway.stop().await;
    let (code, _, stderr) = print(&[], ADMIN);
    assert!(code == Some(1) && stderr.contains("error: http://127.0.0.1"), "{stderr}");
}
