// A box that scrolls sideways can be reached, and then scrolled, with the keyboard.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const boxes = document.querySelectorAll('.bd-article :is(mjx-container[display="true"], .cell_output, .text_html)');
  const mark = () => {
    for (const box of boxes) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  new ResizeObserver(mark).observe(document.body);
});
