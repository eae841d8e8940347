// Swagger UI goes by a class where other pages go by the media query.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// The page's own address chooses the version, so that a link to it can be kept.
addEventListener("load", () => {
  const picker = document.getElementById("version");
  const wanted = new URLSearchParams(location.search).get("version");
  for (const option of picker.options) if (option.text === wanted) picker.value = option.value;
  picker.addEventListener("change", () => {
    location.search = `?version=${picker.options[picker.selectedIndex].text}`;
  });
  // Swagger UI opens its dialog at the last scheme; people look for the first.
  document.getElementById("swagger").addEventListener("click", (event) => {
    if (event.target.closest(".auth-wrapper > .authorize"))
      requestAnimationFrame(() => document.querySelector(".modal-ux input")?.focus());
  });
  const ui = SwaggerUIBundle({
    url: picker.value,
    dom_id: "#swagger",
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    oauth2RedirectUrl: `${location.origin}/docs/asset/oauth2-redirect.html`,
    persistAuthorization: false,
    validatorUrl: null,
  });
  ui.initOAuth({ clientId: "demarc-docs", usePkceWithAuthorizationCodeGrant: true });
});
