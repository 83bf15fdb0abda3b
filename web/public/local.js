// The demo user of the local suite, who can sign in at its Auth emulator and nowhere else. Never deployed (firebase.json).
const EMAIL = "demo@example.com";
const PASSWORD = "demo-password";
const FROM_HOSTING_TO_AUTH = 9099 - 5000; // the suite moves all ports by the same offset

export function showDemoUser() {
  const auth = `http://${location.hostname}:${Number(location.port) + FROM_HOSTING_TO_AUTH}`;
  const body = JSON.stringify({ email: EMAIL, password: PASSWORD, returnSecureToken: true });
  document.getElementById("sign-in").textContent =
    `TOKEN=$(curl -s "${auth}/identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=local" ` +
    `-H "Content-Type: application/json" -d '${body}' | grep -o '"idToken": *"[^"]*"' | cut -d'"' -f4)`;
  const note = document.getElementById("demo-user");
  note.textContent = `On this machine you can sign in as ${EMAIL}, password ${PASSWORD}.`;
  note.hidden = false;
}
